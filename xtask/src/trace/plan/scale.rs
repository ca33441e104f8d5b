//! The two sizes of the lab.

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Tasks that are left out.
    pub(super) left_out: &'static [&'static str],
    /// Length of a serial run of computing.
    pub(super) serial_seconds: f64,
    /// Length of one simulated download.
    pub(super) download_seconds: &'static str,
    /// Pause between two numbers that are printed.
    pub(super) print_seconds: &'static str,
    /// Short sleeps and requests.
    pub(super) pauses: u32,
    /// Pages fetched.
    pub(super) fetches: u32,
}

impl Scale {
    /// Less than a minute on two CPUs.
    pub(crate) const QUICK: Scale = Scale {
        left_out: &["json", "mutex", "sleep", "request", "convoy", "lag"],
        serial_seconds: 1.0,
        download_seconds: "0.25",
        print_seconds: "0.1",
        pauses: 64,
        fetches: 64,
    };
    /// Less than five minutes.
    pub(crate) const FULL: Scale =
        Scale { left_out: &[], serial_seconds: 2.5, download_seconds: "2", print_seconds: "1", pauses: 192, fetches: 128 };
}
