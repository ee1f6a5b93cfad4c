//! Stamps what differs between loaders into iPXE for Linux: the script, the platform and the CPU.
//!
//! Everything is found by its bytes, and must be there exactly once. Nothing changes its length.

use memchr::memmem;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::plural::count;
use crate::loader::target::Platform;
use crate::stamp::slot::{Slot, SlotSize, TooLong};

/// Errors from stamping a program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The script is too long.
    #[error("the script is too long for a rehearsal: {0}")]
    TooLong(#[from] TooLong),
    /// What is to be replaced is missing, or not unique.
    #[error("iPXE for Linux holds {what} {}, so that it cannot be stamped", count(*.found, "time"))]
    Found {
        /// Name of what is to be replaced.
        what: &'static str,
        /// Number of places where it was found.
        found: usize,
    },
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::TooLong(_) => {
                Class::BadInput.help("load the rest of the script with `chain`, as a loader has to do with it")
            }
            Self::Found { .. } => Class::Build.help("a patch under vendor/patches or a newer iPXE may have changed it"),
        }
    }
}

/// Size of the slot of a program: the largest, so that any loader's script fits.
const SLOT: SlotSize = SlotSize::MAX;

/// Returns what a program is built with, in place of a script.
pub(super) fn empty_slot() -> Slot {
    Slot::sentinel(SLOT)
}

/// Returns `program`, which was built for `host`, as it runs `script` for `platform`.
pub(super) fn stamp(program: &[u8], host: Platform, platform: Platform, script: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stamped = Stamped(program.to_vec());
    stamped.replace("its empty slot", empty_slot().bytes(), Slot::fill(script, SLOT)?.bytes())?;
    let firmware = if platform == Platform::Bios { "pcbios" } else { "efi" };
    for (what, name, value) in [("its platform", "pform", firmware), ("its CPU", "barch", platform.arch().buildarch())]
    {
        let name = field(&format!("rehearsal:{name}"));
        stamped.replace(what, &[name, field("linux")].concat(), &[name, field(value)].concat())?;
    }
    let (from, to) = (DhcpClient::of(host), DhcpClient::of(platform));
    // A program without IPv6 has no client for DHCPv6. With it, both clients have the same text.
    let clients = stamped.count(from.text().as_bytes());
    stamped.replace("the options of its DHCP client", &from.options(), &to.options())?;
    match clients {
        1 => {}
        2 => stamped.replace("the options of its DHCPv6 client", &from.options_v6(), &to.options_v6())?,
        found => return Err(Error::Found { what: "its vendor class", found }),
    }
    Ok(stamped.0)
}

/// Returns the field of `struct rehearse_stamp` that holds `text`.
fn field(text: &str) -> [u8; 16] {
    let mut field = [0; 16];
    for (byte, value) in field.iter_mut().zip(text.bytes()) {
        *byte = value;
    }
    field
}

/// A program that is being stamped.
struct Stamped(Vec<u8>);

impl Stamped {
    fn count(&self, bytes: &[u8]) -> usize {
        memmem::find_iter(&self.0, bytes).count()
    }

    /// Replaces `from`, which must be there once, by `to` of the same length.
    fn replace(&mut self, what: &'static str, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let places: Vec<usize> = memmem::find_iter(&self.0, from).collect();
        let [place] = places[..] else { return Err(Error::Found { what, found: places.len() }) };
        self.0.splice(place..place + from.len(), to.iter().copied());
        Ok(())
    }
}

/// What iPXE tells DHCP servers about its platform.
///
/// Source: `dhcparch.h` of each platform in iPXE, `dhcp_request_options_data` in its `dhcp.c` and
/// `dhcpv6_request_options_data` in its `dhcpv6.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DhcpClient {
    /// Client architecture.
    arch: u16,
    /// Version of the network interface UNDI.
    undi: [u8; 2],
}

impl DhcpClient {
    fn of(platform: Platform) -> Self {
        let (arch, undi) = match platform {
            Platform::Bios => (0, [2, 1]),
            Platform::EfiIa32 => (6, [3, 10]),
            Platform::EfiX64 => (7, [3, 10]),
            Platform::EfiArm32 => (10, [3, 10]),
            Platform::EfiArm64 => (11, [3, 10]),
            Platform::EfiRiscv64 => (27, [3, 10]),
            Platform::EfiLoong64 => (39, [3, 10]),
        };
        Self { arch, undi }
    }

    /// Returns the vendor class.
    fn text(self) -> String {
        let [major, minor] = self.undi;
        format!("PXEClient:Arch:{:05}:UNDI:{major:03}{minor:03}", self.arch)
    }

    /// Returns options 93, 94 and 60 of DHCP, in the order in which iPXE has them.
    fn options(self) -> Vec<u8> {
        let ([high, low], [major, minor]) = (self.arch.to_be_bytes(), self.undi);
        let text = self.text();
        let mut options = vec![93, 2, high, low, 94, 3, 1, major, minor, 60, text.len().to_le_bytes()[0]];
        options.extend(text.into_bytes());
        options
    }

    /// Returns options 16 (from its text), 61 and 62 of `DHCPv6`, in the order in which iPXE has them.
    fn options_v6(self) -> Vec<u8> {
        let ([high, low], [major, minor]) = (self.arch.to_be_bytes(), self.undi);
        let mut options = self.text().into_bytes();
        options.extend([0, 61, 0, 2, high, low, 0, 62, 0, 3, 1, major, minor]);
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::boot_policy::CLIENT_ARCHITECTURES;

    const HOST: Platform = Platform::EfiX64;

    /// Returns the parts of a program for [`HOST`] that are stamped.
    fn parts() -> Vec<Vec<u8>> {
        let fields = ["pform", "barch"].map(|name| [field(&format!("rehearsal:{name}")), field("linux")].concat());
        let client = DhcpClient::of(HOST);
        [vec![empty_slot().bytes().to_vec()], fields.to_vec(), vec![client.options(), client.options_v6()]].concat()
    }

    fn stamped(parts: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        stamp(&parts.join(&b"code"[..]), HOST, Platform::Bios, b"#!ipxe\nshell\n")
    }

    fn holds(program: &[u8], bytes: &[u8]) -> usize {
        memmem::find_iter(program, bytes).count()
    }

    #[test]
    fn all_that_differs_between_loaders_is_stamped() {
        let program = stamped(&parts()).unwrap();
        assert_eq!(program.len(), parts().join(&b"code"[..]).len());
        assert_eq!(holds(&program, b"#!ipxe\nshell\n\n"), 1);
        assert_eq!(holds(&program, b"rehearsal:pform\0pcbios\0\0\0\0\0\0\0\0\0\0"), 1);
        assert_eq!(holds(&program, b"rehearsal:barch\0i386\0\0\0\0\0\0\0\0\0\0\0\0"), 1);
        assert_eq!(holds(&program, b"\x5d\x02\0\0\x5e\x03\x01\x02\x01\x3c\x20PXEClient:Arch:00000:UNDI:002001"), 1);
        assert_eq!(holds(&program, b"PXEClient:Arch:00000:UNDI:002001\0\x3d\0\x02\0\0\0\x3e\0\x03\x01\x02\x01"), 1);
        assert_eq!(holds(&program, b"00007"), 0);
    }

    #[test]
    fn a_program_without_ipv6_has_one_dhcp_client() {
        let program = stamped(&parts()[..4]).unwrap();
        assert_eq!(holds(&program, b"PXEClient:Arch:00000:UNDI:002001"), 1);
    }

    #[test]
    fn what_is_missing_or_not_unique_is_an_error() {
        // Without the client for DHCPv6, there is no error: see above.
        for index in 0..4 {
            let mut without = parts();
            without.remove(index);
            assert!(matches!(stamped(&without), Err(Error::Found { found: 0, .. })), "{index}");
        }
        for part in parts() {
            let twice = [parts(), vec![part]].concat();
            assert!(matches!(stamped(&twice), Err(Error::Found { found: 2 | 3, .. })));
        }
        let mut other = parts();
        other.push(DhcpClient::of(HOST).text().into_bytes());
        let error = stamped(&other).unwrap_err().to_string();
        assert_eq!(error, "iPXE for Linux holds its vendor class 3 times, so that it cannot be stamped");
        let mut changed = parts();
        changed[4].truncate(40);
        let error = stamped(&changed).unwrap_err().to_string();
        let what = "the options of its DHCPv6 client";
        assert_eq!(error, format!("iPXE for Linux holds {what} 0 times, so that it cannot be stamped"));
    }

    #[test]
    fn a_script_of_the_largest_slot_fits() {
        let program = parts().concat();
        let script = [&b"#!ipxe\n"[..], &vec![b'x'; 65_529]].concat();
        let done = stamp(&program, HOST, HOST, &script).unwrap();
        assert!(done.starts_with(&script) && done.len() == program.len());
        let error = stamp(&program, HOST, HOST, &[&script[..], b"y"].concat()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the script is too long for a rehearsal: it is 65537 bytes, 1 more than the slot of 65536"
        );
    }

    #[test]
    fn dhcp_servers_are_told_what_they_know_loaders_by() {
        for platform in Platform::ALL {
            let known = CLIENT_ARCHITECTURES.iter().find(|known| known.platform == platform).unwrap();
            let client = DhcpClient::of(platform);
            assert_eq!((client.arch, client.text().len()), (known.code, 32), "{platform}");
        }
    }
}
