//! Connections that are closed in the face of the client, in front of a web server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Passes connections to `listener` on to the server at `behind`, until a request comes for which `resets`: it gets the
/// value of the header `Host` and the path. The threads end with their connections, and with the process.
pub(super) fn start(
    listener: TcpListener,
    behind: SocketAddr,
    resets: impl Fn(Option<&str>, &str) -> bool + Send + Sync + 'static,
) {
    let resets = Arc::new(resets);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let resets = Arc::clone(&resets);
            // Either side may close the connection at any time.
            std::thread::spawn(move || pass_on(client, behind, &*resets));
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "the server is in the same namespace, behind this one")]
fn pass_on(mut client: TcpStream, behind: SocketAddr, resets: &dyn Fn(Option<&str>, &str) -> bool) -> io::Result<()> {
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
        if length == 0 || requested(&buffer[..length]).is_some_and(|(host, path)| resets(host.as_deref(), &path)) {
            server.shutdown(Shutdown::Both)?;
            return client.shutdown(Shutdown::Both);
        }
        server.write_all(&buffer[..length])?;
    }
}

/// Returns the value of the header `Host` and the path of a request.
fn requested(request: &[u8]) -> Option<(Option<String>, String)> {
    let text = String::from_utf8_lossy(request);
    let mut lines = text.lines();
    let path = lines.next()?.strip_prefix("GET ")?.split(' ').next()?.to_owned();
    let host = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
    });
    Some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_path_and_a_host() {
        let read = |text: &str| requested(text.as_bytes());
        let found = read("GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nhost: boot.example.org:8080\r\n\r\n");
        assert_eq!(found, Some((Some("boot.example.org:8080".into()), "/a?b".into())));
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Some((None, "/".into())));
        assert_eq!((read(""), read("POST / HTTP/1.1")), (None, None));
    }
}
