//! Asks a machine that has fallen silent what its processors do, through QEMU's monitor and the kernel's own keys for emergencies.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread::sleep,
    time::Duration,
};

/// The monitor answers at once, unless the host is starved.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the monitor prints when it waits for a command.
const PROMPT: &[u8] = b"(qemu) ";
/// Between two looks at the processors: one that stands still shows the same address twice.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// The kernel prints a few thousand characters for each key over a slow port.
const KEY_TIME: Duration = Duration::from_secs(5);

/// Makes the kernel print, to its console, where every processor is (`l`), its timers (`q`) and the blocked tasks (`w`), and returns
/// the registers of every processor, two looks apart. Errors are part of the text: this is called when something is wrong already.
pub(crate) fn examine(monitor: &Path, console: &Path) -> String {
    let registers = look(monitor);
    sleep(BETWEEN_LOOKS);
    let again = look(monitor);
    for key in [b'l', b'q', b'w'] {
        if let Err(error) = press(monitor, console, key) {
            return format!("its kernel cannot be asked: {error}\n{registers}\n{again}");
        }
    }
    format!("{registers}\n{again}")
}

/// One line for each processor: where it is, its flags and whether it is halted.
fn look(monitor: &Path) -> String {
    match ask(monitor, "info registers -a") {
        Ok(text) => processors(&text).join("\n"),
        Err(error) => format!("QEMU's monitor does not answer: {error}"),
    }
}

/// Picks what matters out of `info registers -a`.
fn processors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("CPU#") {
            found.push(line.to_owned());
        } else if (line.starts_with("RIP=") || line.starts_with("RAX=") || line.starts_with("RSP="))
            && let Some(last) = found.last_mut()
        {
            last.push(' ');
            last.push_str(line);
        }
    }
    found
}

/// Has the kernel do what this key stands for: a break on the serial line, then the key.
fn press(monitor: &Path, console: &Path, key: u8) -> io::Result<()> {
    let mut line = UnixStream::connect(console)?;
    ask(monitor, "chardev-send-break console")?;
    line.write_all(&[key])?;
    // Whoever reads nothing makes QEMU wait for room in the socket.
    line.set_read_timeout(Some(KEY_TIME))?;
    let mut printed = [0; 4096];
    loop {
        match line.read(&mut printed) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Sends a command to the monitor and returns the answer.
fn ask(monitor: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(monitor)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    read_to_prompt(&mut stream)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let answer = read_to_prompt(&mut stream)?;
    Ok(String::from_utf8_lossy(&answer).replace('\r', ""))
}

fn read_to_prompt(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(PROMPT) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::processors;

    #[test]
    fn each_processor_is_one_line() {
        let text = "info registers -a\n\nCPU#0\nRAX=0 RBX=1\nRSI=2 RDI=3\nRIP=ffff RFL=00000246 CPL=0 HLT=1\n\nCPU#1\nRIP=eeee RFL=2 HLT=0\n";
        assert_eq!(processors(text), ["CPU#0 RAX=0 RBX=1 RIP=ffff RFL=00000246 CPL=0 HLT=1", "CPU#1 RIP=eeee RFL=2 HLT=0"]);
    }
}
