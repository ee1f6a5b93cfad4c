//! Certificates that a shim trusts: its vendor builds them in, in the section `.vendor_cert`.
//!
//! Source: `cert.S` and `shim.c` of shim 15.8. The section begins with four numbers: the sizes of what is trusted and of
//! what is revoked, and where each begins in the section.

use super::signature::{SigningCertificate, section};
use super::signature_list::certificates;

/// Name of the section.
const SECTION: &str = ".vendor_cert";
/// Maximum number of certificates that are read; distributions have one, or a few.
const MAX_CERTIFICATES: usize = 16;
/// Maximum size of a certificate in bytes; those of distributions have about 1,000.
const MAX_CERTIFICATE: usize = 16 << 10;

/// Returns the certificates that `shim`, an EFI application, trusts; at least one.
///
/// # Errors
///
/// A message if it has none, or none that can be read.
pub fn vendor_certificates(shim: &[u8]) -> Result<Vec<SigningCertificate>, String> {
    let section = section(shim, SECTION)?.ok_or_else(|| format!("it has no section `{SECTION}`"))?;
    let number = |at: usize| usize::try_from(u32::from_le_bytes(*section.get(at..)?.first_chunk()?)).ok();
    let trusted = number(0).zip(number(8)).and_then(|(size, start)| section.get(start..start.checked_add(size)?));
    let trusted = trusted.ok_or_else(|| format!("its section `{SECTION}` leads out of itself"))?;
    let certificates = match trusted.first() {
        None => return Err(format!("its section `{SECTION}` has no certificate")),
        // A certificate is a sequence, and no type of a signature list begins like that.
        Some(0x30) => vec![trusted],
        Some(_) => {
            certificates(trusted).ok_or_else(|| format!("its section `{SECTION}` has no list that can be read"))?
        }
    };
    match certificates.len() {
        0 => return Err(format!("its section `{SECTION}` has no certificate")),
        1..=MAX_CERTIFICATES => {}
        found => return Err(format!("it trusts {found} certificates, wanted at most {MAX_CERTIFICATES}")),
    }
    if let Some(long) = certificates.iter().find(|it| it.len() > MAX_CERTIFICATE) {
        return Err(format!("it trusts a certificate of {} bytes, wanted at most {MAX_CERTIFICATE}", long.len()));
    }
    let read = certificates.into_iter().map(SigningCertificate::from_der).collect::<Option<_>>();
    read.ok_or_else(|| format!("its section `{SECTION}` has a certificate that cannot be read"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::loader::signature_list::{OWNER, signature_list};
    use crate::loader::smallest_application::{SECTIONS, application};

    /// Returns an application whose second section is `.vendor_cert` with `content`, and is called so in the entry.
    fn shim(content: &[u8]) -> Vec<u8> {
        let mut bytes = application();
        bytes[SECTIONS + 40..SECTIONS + 48].copy_from_slice(b".vendor_");
        bytes[0x600..].fill(0);
        bytes[0x600..0x600 + content.len()].copy_from_slice(content);
        bytes
    }

    fn section_of(size: u32, start: u32, content: &[u8]) -> Vec<u8> {
        [&[size, 0, start, start].map(u32::to_le_bytes).concat()[..], content].concat()
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let refused = |content: &[u8]| vendor_certificates(&shim(content)).unwrap_err();
        assert_eq!(vendor_certificates(&application()).unwrap_err(), "it has no section `.vendor_cert`");
        assert_eq!(refused(&section_of(0, 16, b"")), "its section `.vendor_cert` has no certificate");
        assert_eq!(refused(&section_of(512, 16, b"")), "its section `.vendor_cert` leads out of itself");
        assert_eq!(refused(&section_of(u32::MAX, u32::MAX, b"")), "its section `.vendor_cert` leads out of itself");
        assert_eq!(
            refused(&section_of(4, 16, b"0abc")),
            "its section `.vendor_cert` has a certificate that cannot be read"
        );
        assert_eq!(refused(&section_of(4, 16, b"1abc")), "its section `.vendor_cert` has no list that can be read");
        let digests = [&[1; 16][..], &signature_list(OWNER, &[b"x"])[16..]].concat();
        let list = section_of(u32::try_from(digests.len()).unwrap(), 16, &digests);
        assert_eq!(refused(&list), "its section `.vendor_cert` has no certificate");
        // One list of 17 entries of 17 bytes.
        let lengths = [28 + 17 * 17, 0, 17].map(u32::to_le_bytes).concat();
        let many = [&signature_list(OWNER, &[b"x"])[..16], &lengths, &[0; 17 * 17]].concat();
        let list = section_of(u32::try_from(many.len()).unwrap(), 16, &many);
        assert_eq!(refused(&list), "it trusts 17 certificates, wanted at most 16");
    }

    #[test]
    fn a_long_name_is_looked_up_behind_the_symbols() {
        let mut bytes = shim(&section_of(4, 16, b"1abc"));
        bytes[SECTIONS + 40..SECTIONS + 48].copy_from_slice(b"/4\0\0\0\0\0\0");
        assert_eq!(vendor_certificates(&bytes).unwrap_err(), "it has no section `.vendor_cert`");
        // One symbol of 18 bytes, then the length of the table, then the name.
        let at = u32::try_from(bytes.len()).unwrap();
        bytes[0x8c..0x94].copy_from_slice(&[at.to_le_bytes(), 1_u32.to_le_bytes()].concat());
        bytes.extend([&[0; 22][..], b".vendor_cert\0"].concat());
        assert_eq!(vendor_certificates(&bytes).unwrap_err(), "its section `.vendor_cert` has no list that can be read");
        bytes[0x8c..0x94].fill(0xff);
        assert_eq!(vendor_certificates(&bytes).unwrap_err(), "it has no section `.vendor_cert`");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..0x300, value: u8, content in proptest::collection::vec(any::<u8>(), 0..0x200)) {
            let mut bytes = shim(&content);
            bytes[at] = value;
            let _ = vendor_certificates(&bytes);
        }
    }
}
