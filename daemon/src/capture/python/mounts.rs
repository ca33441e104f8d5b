//! Which file systems a user's own process may stand behind. Reading from one waits for that process, for as long as it likes, and so may
//! asking for a file's attributes or for a page of memory that comes from it. They are known by the tables of mounts, without asking them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use super::maps::Device;

/// Bytes read of one table. A host with some hundred containers has 200 KB.
pub(super) const BYTES_MAX: u64 = 2 << 20;

/// Device numbers with this major number belong to no device: file systems without one have them.
const NO_DEVICE: u32 = 0;

/// The file systems that are mounted.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    is_foreign: HashMap<Device, bool>,
}

impl Mounts {
    /// Adds a table in the format of `/proc/PID/mountinfo`.
    pub(super) fn add(&mut self, table: impl Read) {
        let mut lines = BufReader::new(table.take(BYTES_MAX));
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            if let Some((device, kind)) = parse(&line) {
                let is_foreign = kind == b"fuse" || kind.starts_with(b"fuse.");
                *self.is_foreign.entry(device).or_default() |= is_foreign;
            }
            line.clear();
        }
    }

    /// Whether a file system has no device, as all of that kind.
    pub(super) fn has_no_device(device: Device) -> bool {
        device.0 == NO_DEVICE
    }

    /// Whether a user's process may stand behind a file system. One that is not in the tables may be of that kind.
    pub(super) fn is_foreign(&self, device: Device) -> bool {
        Mounts::has_no_device(device) && self.is_foreign.get(&device).copied().unwrap_or(true)
    }
}

/// The device and the kind of file system of one line, as `36 35 98:0 /from /to rw,noatime master:1 - ext3 /dev/root rw`.
fn parse(line: &[u8]) -> Option<(Device, &[u8])> {
    let mut words = line.split(|byte| *byte == b' ');
    let (major, minor) = str::from_utf8(words.nth(2)?).ok()?.split_once(':')?;
    // The root, the place and the options, which may be called so too, come before the words that a dash ends.
    let kind = words.skip(3).skip_while(|word| *word != b"-").nth(1)?;
    Some(((major.parse().ok()?, minor.parse().ok()?), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_users_and_unknown_ones_are_foreign() {
        let mut mounts = Mounts::default();
        let table = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
              30 22 0:29 / /proc rw shared:5 - proc proc rw\n\
              40 22 0:50 / /srv/caf\xe9 rw - fuse.sshfs host: rw,user_id=1\n\
              41 22 0:51 / /mnt\\040x rw - fuse x rw\n\
              42 22 0:52 / /sys/fs/fuse/connections rw - fusectl fusectl rw\n\
              43 22 0:53 / /var rw master:1 - overlay overlay rw,lowerdir=/a\n\
              no line\n44 22 0:54 / /x rw -";
        mounts.add(table.as_slice());
        let foreign = |minor| mounts.is_foreign((0, minor));
        assert_eq!([29, 50, 51, 52, 53, 54, 99].map(foreign), [false, true, true, false, false, true, true]);
        assert!(!mounts.is_foreign((254, 0)) && !mounts.is_foreign((8, 1)));
    }
}
