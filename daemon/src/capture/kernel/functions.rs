//! Where the kernel's functions are in which threads wait for locks, asleep or not, by `/proc/kallsyms`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use schedscope_ebpf::kernel_stack::{FUNCTIONS, Function, Functions, NO_FUNCTIONS, Role, bit};

const KALLSYMS: &str = "/proc/kallsyms";

/// Functions by what it means to be in them. Compilers add a suffix to a name when they have changed the function: `.isra.0`,
/// `.constprop.0`. Not every kernel has all of them, and some compilers put one into another.
const ROLES: &[(Role, &[&str])] = &[
    (Role::Rwsem, &["rwsem_down_read_slowpath", "rwsem_down_write_slowpath"]),
    (
        Role::OtherLock,
        &[
            "__mutex_lock",
            "__ww_mutex_lock",
            "__down",
            "__down_common",
            "__down_interruptible",
            "__down_killable",
            "__down_timeout",
            "percpu_rwsem_wait",
            "percpu_down_write",
        ],
    ),
    (
        Role::SpinLock,
        &[
            "native_queued_spin_lock_slowpath",
            "__pv_queued_spin_lock_slowpath",
            "queued_spin_lock_slowpath",
            "queued_read_lock_slowpath",
            "queued_write_lock_slowpath",
            "osq_lock",
        ],
    ),
    (
        Role::MappingLock,
        &[
            "__vma_start_write",
            "__vma_enter_locked",
            "__vma_start_exclude_readers",
            "__vma_exclude_readers_for_detach",
            "vma_mark_detached",
        ],
    ),
    (
        Role::AddressSpace,
        &[
            "exc_page_fault",
            "do_user_addr_fault",
            "do_page_fault",
            "lock_mm_and_find_vma",
            "dup_mm",
            "dup_mmap",
            "exit_mm",
            // Before Linux 5.15 this alone tells the system call.
            "vm_mmap_pgoff",
            "__vm_munmap",
            "do_mprotect_pkey",
            "do_madvise",
            "__x64_sys_munmap",
            "__x64_sys_brk",
            "__x64_sys_mremap",
            "__x64_sys_madvise",
            "__arm64_sys_munmap",
            "__arm64_sys_brk",
            "__arm64_sys_mremap",
            "__arm64_sys_madvise",
        ],
    ),
    (Role::Futex, &["do_futex", "futex_wait", "futex_wake", "__x64_sys_futex", "__arm64_sys_futex"]),
];

/// The address that is shown to who must not know it.
const HIDDEN: &str = "0000000000000000";

/// The end of the kernel's code; what follows is data and modules.
const END: &str = "_etext";

/// Why locks inside the kernel are not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoFunctions {
    #[error("cannot read {KALLSYMS} ({0})")]
    Unreadable(#[from] io::Error),
    #[error("{KALLSYMS} shows no addresses: that takes CAP_SYSLOG, and a kernel.kptr_restrict below 2")]
    Hidden,
    #[error("this kernel's lock functions are not among those that schedscope knows; please report its version")]
    Unknown,
}

/// The functions of the running kernel. Takes tens of milliseconds: the kernel makes the text of each of its symbols.
pub(crate) fn of_kernel() -> Result<Functions, NoFunctions> {
    parse(BufReader::with_capacity(1 << 20, File::open(KALLSYMS)?))
}

/// Whether the kernel shows where its functions are.
pub(super) fn are_shown() -> bool {
    File::open(KALLSYMS).is_ok_and(|file| first_is_shown(BufReader::new(file)))
}

/// By the first symbol of code: those of data before it may be offsets, of which one is 0.
fn first_is_shown(kallsyms: impl BufRead) -> bool {
    let mut code = kallsyms
        .lines()
        .map_while(Result::ok)
        .filter(|line| line.split(' ').nth(1).is_some_and(|kind| kind.eq_ignore_ascii_case("t")));
    code.next().is_some_and(|line| !line.starts_with(HIDDEN))
}

fn parse(mut kallsyms: impl BufRead) -> Result<Functions, NoFunctions> {
    let roles: HashMap<&str, Role> = ROLES.iter().flat_map(|(role, names)| names.iter().map(|name| (*name, *role))).collect();
    let mut found: Vec<Function> = Vec::new();
    // Functions that began at the last address, which end where the next one begins.
    let mut open: Option<(u64, u32)> = None;
    let mut is_shown = false;
    // There are a hundred thousand lines, of which a few matter: most are compared and no more.
    let mut line = Vec::new();
    loop {
        line.clear();
        if kallsyms.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let Some((digits, name)) = symbol(&line) else { continue };
        is_shown |= digits != HIDDEN;
        if let Some((start, roles)) = open
            && let Some(address) = address(digits).filter(|address| *address > start)
        {
            found.push(Function { start, bytes: u32::try_from(address - start).unwrap_or(u32::MAX), roles });
            open = None;
        }
        if name == END {
            break;
        }
        let role = role_of(name, &roles).filter(|_| digits != HIDDEN);
        if let Some((role, start)) = role.zip(address(digits)) {
            open = Some((start, open.map_or(0, |(_, roles)| roles) | bit(role)));
        }
    }
    found.sort_by_key(|function| function.start);
    if !is_shown {
        return Err(NoFunctions::Hidden);
    }
    let waits = bit(Role::Rwsem) | bit(Role::OtherLock);
    if !found.iter().any(|function| function.roles & waits != 0) {
        return Err(NoFunctions::Unknown);
    }
    let mut functions = NO_FUNCTIONS;
    for (entry, function) in functions.iter_mut().zip(found) {
        *entry = function;
    }
    Ok(functions)
}

/// Address and name in a line `ffffffff81000000 T _stext`, after which modules have theirs.
fn symbol(line: &[u8]) -> Option<(&str, &str)> {
    let line = str::from_utf8(line).ok()?.trim_end();
    let (address, rest) = line.split_once(' ')?;
    let (_, name) = rest.split_once(' ')?;
    Some((address, name.split_once('\t').map_or(name, |(name, _)| name)))
}

fn address(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

fn role_of(name: &str, roles: &HashMap<&str, Role>) -> Option<Role> {
    let (base, suffix) = name.split_once('.').unwrap_or((name, ""));
    // Parts that are rarely run are elsewhere, and wait for nothing.
    if suffix.starts_with("cold") || suffix.contains(".cold") {
        return None;
    }
    roles.get(base).copied()
}

const _: () = {
    let (mut names, mut role) = (0, 0);
    while role < ROLES.len() {
        names += ROLES[role].1.len();
        role += 1;
    }
    assert!(names <= FUNCTIONS, "the table has no room for one of each name");
};

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000100 t __mutex_lock.constprop.0
ffffffff81000200 t __mutex_lock_slowpath
ffffffff81000300 T vm_mmap_pgoff
ffffffff81000300 T alias_of_it
ffffffff81000380 t rwsem_down_read_slowpath
ffffffff810003c0 t __mutex_lock.constprop.0.cold
ffffffff81000400 T _etext
ffffffff82000000 D __down
";

    fn used(functions: &Functions) -> Vec<(u64, u32, u32)> {
        let used = functions.iter().take_while(|function| function.bytes != 0);
        used.map(|function| (function.start, function.bytes, function.roles)).collect()
    }

    #[test]
    fn functions_are_found_by_name_whatever_the_compiler_has_added() {
        let found = parse(LISTED.as_bytes()).unwrap();
        let base = 0xffff_ffff_8100_0000;
        assert_eq!(
            used(&found),
            [
                (base + 0x100, 0x100, bit(Role::OtherLock)),
                (base + 0x300, 0x80, bit(Role::AddressSpace)),
                (base + 0x380, 0x40, bit(Role::Rwsem)),
            ]
        );
    }

    #[test]
    fn hidden_addresses_and_unknown_kernels_are_told_apart() {
        let hidden: Vec<_> = LISTED.lines().map(|line| format!("0000000000000000{}\n", &line[16..])).collect();
        let hidden = hidden.concat();
        assert!(matches!(parse(hidden.as_bytes()), Err(NoFunctions::Hidden)));
        assert!(first_is_shown(LISTED.as_bytes()) && !first_is_shown(hidden.as_bytes()) && !first_is_shown("".as_bytes()));
        assert!(matches!(parse("".as_bytes()), Err(NoFunctions::Hidden)));
        assert!(matches!(parse("ffffffff81000000 T _stext\n".as_bytes()), Err(NoFunctions::Unknown)));
        assert!(parse("what is this\n\u{0}".as_bytes()).is_err());
    }

    #[test]
    fn the_running_kernel_has_them() {
        match of_kernel() {
            Ok(functions) => {
                let functions = used(&functions);
                assert!(functions.is_sorted() && functions.windows(2).all(|pair| pair[0].0 + u64::from(pair[0].1) <= pair[1].0));
                let roles = functions.iter().fold(0, |roles, function| roles | function.2);
                let needed = bit(Role::Rwsem) | bit(Role::OtherLock) | bit(Role::AddressSpace);
                assert_eq!(roles & needed, needed, "{functions:x?}");
            }
            Err(NoFunctions::Unknown) => panic!("{}", NoFunctions::Unknown),
            Err(error) => println!("skipped: {error}"),
        }
    }
}
