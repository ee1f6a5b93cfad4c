//! A server that holds one bundle of bases, and stamps each loader when it is asked for: `/SITE/LOADER` is the
//! loader with a script for that site.
//!
//! ```sh
//! cargo xtask bundle-bases --out bases.tar.gz
//! cargo run --release -p netboot_stamp --example stamp_server -- bases.tar.gz --url 'http://192.0.2.10/{site}.ipxe'
//! curl -O http://127.0.0.1:8080/rack-1/ipxe.efi
//! ```

use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread::{available_parallelism, scope};

use netboot_stamp::bundle::Bundle;
use netboot_stamp::slot::Slot;
use netboot_stamp::stamper::{self, Stamper};
use rustix::net::sockopt::set_tcp_nodelay;
use tiny_http::{Method, Request, Response, Server};

const USAGE: &str =
    "wanted stamp_server BUNDLE [--listen ADDRESS:PORT] [--configuration NAME] [--template FILE | --url URL]";

/// What is stamped into a loader where nothing else is given; `{{ site }}` becomes the name of the site.
const TEMPLATE: &str = "#!ipxe\necho {{ site }}\ndhcp && chain ${root-path}\n";

fn main() {
    if let Err(error) = serve() {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().filter(|argument| !argument.starts_with('-')).ok_or(USAGE)?);
    let (mut address, mut configuration, mut template) =
        ("127.0.0.1:8080".to_owned(), "default".to_owned(), TEMPLATE.to_owned());
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match option.as_str() {
            "--listen" => address = value,
            "--configuration" => configuration = value,
            "--template" => template = std::fs::read_to_string(value)?,
            "--url" => template = format!("#!ipxe\ndhcp && chain {}\n", value.replace("{site}", "{{ site }}")),
            _ => return Err(USAGE.into()),
        }
    }
    let stock = Stock { bundle: Bundle::open(&path)?, configuration, template };
    let listener = TcpListener::bind(address)?;
    // Its connections inherit this. Without it, the last bytes of a loader can wait 40 ms for an acknowledgement.
    set_tcp_nodelay(&listener, true)?;
    let server = Server::from_listener(listener, None)?;
    let stampers = stock.stampers(available_parallelism()?.get())?;
    println!("listening on http://{}", server.server_addr());
    scope(|threads| {
        for mut stamper in stampers {
            let (server, stock) = (&server, &stock);
            threads.spawn(move || server.incoming_requests().for_each(|request| stock.answer(request, &mut stamper)));
        }
    });
    Err("the server accepts no more connections".into())
}

/// What all threads share.
struct Stock {
    bundle: Bundle,
    configuration: String,
    template: String,
}

impl Stock {
    /// A stamper for each of `count` threads, with all done that takes long.
    fn stampers(&self, count: usize) -> Result<Vec<Stamper>, stamper::Error> {
        let prepared = || {
            let mut stamper = Stamper::new();
            self.bundle.bases().try_for_each(|(_, base)| stamper.prepare(base))?;
            Ok(stamper)
        };
        scope(|threads| {
            let threads: Vec<_> = (0..count).map(|_| threads.spawn(prepared)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        })
    }

    fn answer(&self, request: Request, stamper: &mut Stamper) {
        let answer = match request.method() {
            Method::Get | Method::Head => self.loader(request.url(), stamper),
            _ => Err((405, "only GET and HEAD are answered".to_owned())),
        };
        let response = match answer {
            Ok(loader) => Response::from_data(loader),
            Err((status, reason)) => Response::from_string(reason + "\n").with_status_code(status),
        };
        // Boot ROMs want to know the length beforehand. A client that breaks off is its own affair.
        let _ = request.respond(response.with_chunked_threshold(usize::MAX));
    }

    /// The loader at `/SITE/LOADER`; or the status and the text of a refusal.
    fn loader(&self, path: &str, stamper: &mut Stamper) -> Result<Vec<u8>, (u16, String)> {
        let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let (site, loader) = names.ok_or_else(|| (404, "wanted /SITE/LOADER".to_owned()))?;
        if !is_site(site) {
            return Err((400, "a site has 1 to 63 of A-Z a-z 0-9 . _ -, and no . or - first".to_owned()));
        }
        let base = self.bundle.base(&self.configuration, loader);
        let base = base.ok_or_else(|| (404, "there is no such loader".to_owned()))?;
        let script = self.template.replace("{{ site }}", site);
        let slot = Slot::fill(script.as_bytes(), base.slot_size()).map_err(|error| (500, error.to_string()))?;
        stamper.stamp(base, &slot).map_err(|error| (500, error.to_string()))
    }
}

/// Whether a site can be called that: nothing that means something to a script or a path.
fn is_site(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use netboot_stamp::base::Base;
    use netboot_stamp::bundle::Ipxe;
    use netboot_stamp::slot::SlotSize;

    use super::*;

    #[test]
    fn a_site_gets_its_own_loader_and_nothing_else_is_there() {
        let image = Slot::sentinel(SlotSize::DEFAULT).bytes().to_vec();
        let zinfo = [&b"COPY"[..], &[0; 4], &[0, 16, 0, 0], &[1, 0, 0, 0]].concat();
        let base = Base::capture_bios("x.pxe", image.clone(), zinfo, &image, SlotSize::DEFAULT).unwrap();
        let ipxe = Ipxe { version: "2.0.0".into(), commit: "7".repeat(40).parse().unwrap() };
        let bundle = Bundle::new(ipxe, [("default".to_owned(), base)]);
        let stock = Stock { bundle, configuration: "default".into(), template: TEMPLATE.into() };
        let stamper = &mut stock.stampers(1).unwrap()[0];
        let loader = stock.loader("/rack-1/x.pxe", stamper).unwrap();
        assert!(loader.starts_with(b"#!ipxe\necho rack-1\ndhcp && chain ${root-path}\n\n"));
        let long = format!("/{}/x.pxe", "a".repeat(64));
        for (path, status) in [
            ("/x.pxe", 404),
            ("/a/y.pxe", 404),
            ("/a/b/x.pxe", 404),
            ("//x.pxe", 400),
            ("/../x.pxe", 400),
            ("/a%20b/x.pxe", 400),
            (long.as_str(), 400),
        ] {
            assert_eq!(stock.loader(path, stamper).unwrap_err().0, status, "{path}");
        }
    }
}
