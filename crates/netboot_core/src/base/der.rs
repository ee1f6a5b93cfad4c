//! Recognises the DER structures that matter for publishing: certificates, and structures with a private key.

/// Number of bytes at the beginning of a structure that [`is_private_key`] needs.
pub const HEAD: usize = 96;

/// Minimum size of a key that is reported, in bytes.
const LEAST: usize = 32;

/// A DER element, or the available part of one.
struct Element<'d> {
    tag: u8,
    /// Declared length in bytes; the available length if the declared one is indefinite, as in BER.
    length: usize,
    content: &'d [u8],
    rest: &'d [u8],
}

impl Element<'_> {
    fn is_whole(&self) -> bool {
        self.content.len() == self.length
    }
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x80 => (rest.len(), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at(length.min(rest.len()));
    Some(Element { tag, length, content, rest })
}

/// Checks whether `der` has more than `most` elements, counting those inside of others. Decoders sort the elements of a
/// set, which takes time quadratic in their number.
#[must_use]
pub fn has_more_elements(der: &[u8], most: usize) -> bool {
    const CONSTRUCTED: u8 = 0x20;
    let (mut rest, mut count) = (der, 0);
    while let Some(found) = element(rest) {
        count += 1;
        if count > most {
            return true;
        }
        rest = if found.tag & CONSTRUCTED == 0 {
            found.rest
        } else {
            &rest[rest.len() - found.content.len() - found.rest.len()..]
        };
    }
    false
}

/// Checks whether `der` begins with a private key in the format of PKCS #1, PKCS #8 (encrypted or not), SEC 1 or DSA,
/// or with a PKCS #12 container. Its first [`HEAD`] bytes are sufficient.
#[must_use]
pub fn is_private_key(der: &[u8]) -> bool {
    let Some(Element { tag: 0x30, content: key, .. }) = element(der).filter(|_| der.len() >= LEAST) else {
        return false;
    };
    let Some(first) = element(key) else { return false };
    let second = element(first.rest);
    match (first.tag, first.content, second) {
        // A version, and what distinguishes a key from other structures with a version.
        (0x02, [0 | 1], Some(second)) => match second.tag {
            0x02 => second.length >= LEAST,
            0x30 => {
                let is_followed = second.rest.first() == Some(&0x04) || !second.is_whole();
                second.content.first() == Some(&0x06) && is_followed
            }
            0x04 => second.length >= 20,
            _ => false,
        },
        // The content of PKCS #12 is PKCS #7 data, plain or signed.
        (0x02, [3], Some(second)) => {
            second.tag == 0x30 && second.content.starts_with(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07")
        }
        // Encryption of keys: PKCS #5, or PKCS #12 schemes.
        (0x30, algorithm, _) => {
            algorithm.starts_with(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05")
                || algorithm.starts_with(b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01")
        }
        _ => false,
    }
}

/// Checks whether `der` is exactly one X.509 certificate as RFC 5280 defines it. The contents of the fields are not
/// checked.
#[must_use]
pub fn is_certificate(der: &[u8]) -> bool {
    certificate(der).is_some()
}

/// Returns the fields of a certificate that are always there: serial number, algorithm, issuer, validity, subject and key.
fn certificate(der: &[u8]) -> Option<Vec<Element<'_>>> {
    let tags = |elements: &[Element<'_>]| elements.iter().map(|element| element.tag).collect::<Vec<_>>();
    let outer = element(der).filter(|outer| outer.tag == 0x30 && outer.is_whole() && outer.rest.is_empty())?;
    let parts = elements(outer.content).filter(|parts| tags(parts) == [0x30, 0x30, 0x03])?;
    let mut fields = elements(parts[0].content)?;
    // Before version 3, the version may be absent.
    if fields.first().is_some_and(|field| field.tag == 0xa0) {
        fields.remove(0);
    }
    // The fields that follow are optional and have their own tags.
    let optional = fields.split_off(fields.len().min(6));
    let fits = tags(&fields) == [0x02, 0x30, 0x30, 0x30, 0x30, 0x30]
        && optional.iter().all(|field| matches!(field.tag, 0x81 | 0xa1 | 0x82 | 0xa2 | 0xa3))
        && elements(fields[5].content).is_some_and(|key| tags(&key) == [0x30, 0x03]);
    fits.then_some(fields)
}

/// Returns the day on which the certificate `der` ends (`notAfter`), in UTC, as `YYYYMMDD`; RFC 5280, 4.1.2.5.
#[must_use]
pub fn last_day(der: &[u8]) -> Option<String> {
    let fields = certificate(der)?;
    let end = elements(fields[3].content)?.pop()?;
    let digits = std::str::from_utf8(end.content).ok().filter(|text| text.is_ascii())?;
    let day = match end.tag {
        // Years with two digits are from 1950 to 2049.
        0x17 => format!("{}{}", if digits.get(..2)? < "50" { "20" } else { "19" }, digits.get(..6)?),
        0x18 => digits.get(..8)?.to_owned(),
        _ => return None,
    };
    day.bytes().all(|byte| byte.is_ascii_digit()).then_some(day)
}

/// Splits `der` into its elements; `None` if one of them is incomplete.
fn elements(mut der: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let next = element(der).filter(Element::is_whole)?;
        der = next.rest;
        found.push(next);
    }
    Some(found)
}
