//! A client of TFTP (RFC 1350) with options (RFC 2347), as boot ROMs have it.

use std::net::UdpSocket;
use std::time::Duration;

/// What a server says of a file that is not there.
pub const NOT_FOUND: u16 = 1;
/// What stands for no answer.
const SILENCE: u16 = u16::MAX;

const DATA: u16 = 3;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

/// A server on the loopback.
pub struct Tftp {
    port: u16,
}

/// A file that was read, and the options that the server agreed to.
#[derive(Debug)]
pub struct Got {
    pub content: Vec<u8>,
    pub options: Vec<(String, String)>,
}

impl Tftp {
    /// One that is still to be started, at a port that is free.
    pub fn somewhere() -> Self {
        Self { port: UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() }
    }

    pub fn port(&self) -> String {
        self.port.to_string()
    }

    /// Reads the file `name`, or the code of the error.
    pub fn read(&self, name: &str, options: &[(&str, &str)]) -> Result<Got, u16> {
        let mut transfer = self.begin(1, name, options);
        let mut got = Got { content: Vec::new(), options: Vec::new() };
        let (mut size, mut wanted) = (512, 1);
        loop {
            match transfer.receive()? {
                (OPTIONS, body) => {
                    let words: Vec<&str> = std::str::from_utf8(&body).unwrap().split_terminator('\0').collect();
                    got.options = words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
                    let agreed = got.options.iter().find(|(name, _)| name == "blksize");
                    size = agreed.map_or(512, |(_, size)| size.parse().unwrap());
                    transfer.acknowledge(0);
                }
                (DATA, body) => {
                    let block = u16::from_be_bytes([body[0], body[1]]);
                    if block == wanted {
                        got.content.extend(&body[2..]);
                        wanted = wanted.wrapping_add(1);
                    }
                    transfer.acknowledge(block);
                    if block == wanted.wrapping_sub(1) && body.len() - 2 < size {
                        return Ok(got);
                    }
                }
                (kind, _) => panic!("{name}: a packet of kind {kind}"),
            }
        }
    }

    /// Asks to write the file `name`: whether that is refused. Silence is no refusal.
    pub fn refuses(&self, name: &str) -> bool {
        self.begin(2, name, &[]).receive().is_err_and(|code| code != SILENCE)
    }

    /// Sends a request.
    fn begin(&self, request: u16, name: &str, options: &[(&str, &str)]) -> Transfer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let words = [name, "octet"].into_iter().chain(options.iter().flat_map(|(name, value)| [*name, *value]));
        let mut packet = request.to_be_bytes().to_vec();
        packet.extend(words.flat_map(|word| word.bytes().chain([0])));
        socket.send_to(&packet, ("127.0.0.1", self.port)).unwrap();
        Transfer { socket, connected: false }
    }
}

/// A transfer, which goes on at another port of the server.
struct Transfer {
    socket: UdpSocket,
    connected: bool,
}

impl Transfer {
    /// The next packet: its kind, and what follows.
    fn receive(&mut self) -> Result<(u16, Vec<u8>), u16> {
        let mut buffer = vec![0; 70_000];
        let (length, from) = self.socket.recv_from(&mut buffer).map_err(|_| SILENCE)?;
        if !self.connected {
            self.socket.connect(from).unwrap();
            self.connected = true;
        }
        let number = |at: usize| u16::from_be_bytes([buffer[at], buffer[at + 1]]);
        if number(0) == ERROR { Err(number(2)) } else { Ok((number(0), buffer[2..length].to_vec())) }
    }

    fn acknowledge(&self, block: u16) {
        let [high, low] = block.to_be_bytes();
        self.socket.send(&[0, 4, high, low]).unwrap();
    }
}
