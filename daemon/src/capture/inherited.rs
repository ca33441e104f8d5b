//! What a command that we start must find as we found it: the signal mask, and whether SIGPIPE and SIGCHLD are ignored.
//!
//! Other signals need no care. What is ignored stays ignored through fork and exec, and what has a handler gets its default back.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::{io, ptr};

static INHERITED: OnceLock<Inherited> = OnceLock::new();

/// Called before `main`: Rust's runtime ignores SIGPIPE before it calls that, and does not say what was there.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = note;

extern "C" fn note() {
    INHERITED.get_or_init(|| {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: `mask` is valid for writes, and is read only if the call has filled it; the others take numbers. Nothing else runs yet
        // that could have a handler for these signals. With SIGCHLD ignored the kernel would reap our children itself.
        unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr());
            Inherited {
                mask: mask.assume_init(),
                pipe: libc::signal(libc::SIGPIPE, libc::SIG_IGN),
                child: libc::signal(libc::SIGCHLD, libc::SIG_DFL),
            }
        }
    });
}

/// As it was when this program began.
pub(crate) struct Inherited {
    mask: libc::sigset_t,
    pipe: libc::sighandler_t,
    child: libc::sighandler_t,
}

impl Inherited {
    pub(crate) fn get() -> io::Result<&'static Inherited> {
        INHERITED.get().ok_or_else(|| io::Error::other("the C library did not call what notes the inherited signals"))
    }

    /// Gives this thread the mask. A signal that has been waiting is delivered before this returns.
    pub(crate) fn restore_mask(&self) -> io::Result<()> {
        // SAFETY: the mask is a valid one; the old one is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask, ptr::null_mut()) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Gives this process everything back, the mask last. It makes system calls only, as befits a child that is about to exec.
    pub(super) fn restore(&self) -> io::Result<()> {
        // SAFETY: what is set is what was found, and a handler cannot have been: exec leaves none.
        unsafe {
            libc::signal(libc::SIGPIPE, self.pipe);
            libc::signal(libc::SIGCHLD, self.child);
        }
        self.restore_mask()
    }
}
