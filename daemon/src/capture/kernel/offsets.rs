//! The values of the constants in the programs, from the running kernel's type information. Pure.

use schedscope_ebpf::params::{self, ABSENT, FIELDS};

use super::btf::Btf;

/// A field that tracing cannot do without is not where any known kernel has it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this kernel's struct {of} has no member {member}: schedscope does not know this kernel yet; please report its version")]
pub struct MissingField {
    of: &'static str,
    member: String,
}

/// Constants by name.
pub type Constants = Vec<(&'static str, u32)>;

/// Looks up every field in `params` and what the kernel can do.
pub fn resolve(btf: &Btf) -> Result<Constants, MissingField> {
    let mut constants = Constants::new();
    for field in FIELDS {
        let found = field.paths.iter().find_map(|path| byte_offset(btf, field.of, path));
        let offset = match found {
            Some(offset) => offset,
            None if field.optional => ABSENT,
            None => return Err(MissingField { of: field.of, member: field.paths[0].join(".") }),
        };
        constants.push((field.constant, offset));
    }
    if let Some(flag) = btf.member("task_struct", &["in_iowait"]).filter(|member| member.bits == 1) {
        // The word is read whole: the verifier accepts a load that covers a bit field from its word's start.
        constants.push((params::TASK_IOWAIT_WORD, flag.bit_offset / 32 * 4));
        constants.push((params::TASK_IOWAIT_MASK, 1 << (flag.bit_offset % 32)));
    }
    constants.push((params::HAS_PREV_STATE, u32::from(btf.tracepoint_arguments("sched_switch") >= Some(4))));
    constants.push((params::HAS_TASK_PT_REGS, u32::from(btf.has_enumerator("BPF_FUNC_task_pt_regs"))));
    Ok(constants)
}

/// Where a field lies, in bytes; a number at the end of the path counts words of an array.
fn byte_offset(btf: &Btf, of: &str, path: &[&str]) -> Option<u32> {
    let (path, element) = match path.split_last() {
        Some((last, before)) if !before.is_empty() => last.parse::<u32>().map_or((path, 0), |element| (before, element)),
        _ => (path, 0),
    };
    let member = btf.member(of, path).filter(|member| member.bits == 0)?;
    Some(member.bit_offset / 8 + element * 8)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_required_field() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel exposes no BTF");
            return;
        };
        let constants = resolve(&Btf::parse(data).unwrap()).unwrap();
        for (name, value) in &constants {
            assert!(*value == ABSENT || *value < 64 * 1024 || *name == params::TASK_IOWAIT_MASK, "{name} = {value}");
        }
        let mask = constants.iter().find(|(name, _)| *name == params::TASK_IOWAIT_MASK).unwrap().1;
        assert_eq!(mask.count_ones(), 1);
    }
}
