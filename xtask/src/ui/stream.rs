//! Writing to a stream whose reader may be slow or may not read at all.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Number of bytes that a pipe accepts at once if it is ready for writing.
const PIECE: usize = 4096;

/// Interval between two checks for cancellation while waiting for a reader.
const CANCEL_POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Cancellation flag.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Registers `stop`, which ends a wait for a reader once it is set.
pub(super) fn end_with(stop: &Arc<AtomicBool>) {
    let _ = STOP.set(Arc::clone(stop));
}

/// Checks whether the user has asked to stop.
pub(super) fn stopped() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// Writes `text`. If the user asks to stop, text that the reader has not taken yet is lost.
pub(super) fn write(stream: impl AsFd, text: &str) -> io::Result<()> {
    write_until(&stopped, stream, text)
}

fn write_until(stopped: &dyn Fn() -> bool, stream: impl AsFd, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&CANCEL_POLL)) {
            Ok(0) if stopped() => return Ok(()),
            Ok(0) | Err(Errno::INTR) => continue,
            _ => {}
        }
        match rustix::io::write(&stream, &rest[..rest.len().min(PIECE)]) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            // The stream is closed.
            Err(Errno::BADF) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_slow_reader_gets_all_and_one_that_does_not_read_is_left() {
        let text = "0123456789".repeat(50_000);
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let (whole, copy) = (text.clone(), text.clone());
        let thread = std::thread::spawn(move || write_until(&|| false, &writer, &copy).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(200));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        thread.join().unwrap();
        assert!(read == whole);
        let (_reader, writer) = io::pipe().unwrap();
        write_until(&|| true, &writer, &text).unwrap();
    }
}
