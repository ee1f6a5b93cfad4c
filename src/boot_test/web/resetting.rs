//! Connections that are closed in the face of the client, in front of a web server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Interval at which the end is noticed.
const POLL: Duration = Duration::from_millis(5);

/// A server in front of another one; it ends when dropped, and its connections with their clients.
pub(super) struct ResettingServer {
    ended: Arc<AtomicBool>,
}

impl Drop for ResettingServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl ResettingServer {
    /// Passes connections to `listener` on to the server at `behind`, until a request comes for which `resets`: it gets
    /// the method, the value of the header `Host` and the path.
    pub(super) fn start(
        listener: TcpListener,
        behind: SocketAddr,
        resets: impl Fn(&str, Option<&str>, &str) -> bool + Send + Sync + 'static,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (ended, resets) = (Arc::new(AtomicBool::new(false)), Arc::new(resets));
        let server = Self { ended: Arc::clone(&ended) };
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(POLL);
                    continue;
                };
                let resets = Arc::clone(&resets);
                // Either side may close the connection at any time.
                std::thread::spawn(move || pass_on(client, behind, &*resets));
            }
        });
        Ok(server)
    }
}

#[expect(clippy::disallowed_methods, reason = "the server is in the same namespace, behind this one")]
fn pass_on(
    mut client: TcpStream,
    behind: SocketAddr,
    resets: &dyn Fn(&str, Option<&str>, &str) -> bool,
) -> io::Result<()> {
    let mut server = TcpStream::connect(behind)?;
    let (mut answers, mut answered) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut answered);
        let _ = answered.shutdown(Shutdown::Both);
    });
    // iPXE sends a request at once, and waits for the answer.
    let mut buffer = [0; 8192];
    loop {
        let length = client.read(&mut buffer)?;
        let asked = requested(&buffer[..length]);
        if length == 0 || asked.is_some_and(|(method, host, path)| resets(&method, host.as_deref(), &path)) {
            server.shutdown(Shutdown::Both)?;
            return client.shutdown(Shutdown::Both);
        }
        server.write_all(&buffer[..length])?;
    }
}

/// Returns the method, the value of the header `Host` and the path of a request.
fn requested(request: &[u8]) -> Option<(String, Option<String>, String)> {
    let text = String::from_utf8_lossy(request);
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    let host = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
    });
    Some((method.to_owned(), host, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_path_and_a_host() {
        let read = |text: &str| requested(text.as_bytes());
        let found = read("GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nhost: boot.example.org:8080\r\n\r\n");
        assert_eq!(found, Some(("GET".into(), Some("boot.example.org:8080".into()), "/a?b".into())));
        assert_eq!(read("HEAD / HTTP/1.0\r\n\r\n"), Some(("HEAD".into(), None, "/".into())));
        assert_eq!((read(""), read("a=b&c=d e")), (None, None));
    }
}
