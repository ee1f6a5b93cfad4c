//! Reads files of trusted certificates. Only the certificate itself is passed on; any other content stays in the file.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::base::der::{is_certificate, is_private_key, last_day};
use crate::base::secrets;

/// The reason why a file is not a trusted certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCertificate {
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// The message: what was found.
    pub message: String,
    /// The suggested remedy.
    pub remedy: &'static str,
}

const KEY_REMEDY: &str = "keep the key elsewhere, and the certificate alone here: `openssl x509` writes it";
const INNER_KEY_REMEDY: &str = "have one made without it, and hold that key for known to others";

/// Returns the single certificate of a PEM file, as minimal PEM.
///
/// # Errors
///
/// [`RefusedCertificate`]: a private key would be published with the certificate, and iPXE reads only the first
/// certificate.
pub fn certificate(content: &[u8]) -> Result<Vec<u8>, RefusedCertificate> {
    if let Some((line, label)) = blocks(content).into_iter().find(|(_, label)| label != "CERTIFICATE") {
        let (message, remedy) = if label.contains("PRIVATE KEY") {
            (format!("has a private key (`{label}`), and what is trusted gets published"), KEY_REMEDY)
        } else {
            (format!("has a `{label}`, wanted a certificate and nothing else"), "convert it with `openssl x509`")
        };
        return Err(RefusedCertificate { line, message, remedy });
    }
    let whole = |message: String, remedy| RefusedCertificate { line: 0, message, remedy };
    match CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.len() < blocks(content).len() => Err(whole(
            "has a mark `BEGIN CERTIFICATE` that does not begin its line".into(),
            "take away what stands before it, such as blanks, or save the file as UTF-8 without BOM",
        )),
        Ok(found) if found.len() == 1 && is_certificate(&found[0]) && !holds_key(&found[0]) => Ok(pem(&found[0])),
        Ok(found) if found.len() == 1 => {
            let line = blocks(content).first().map_or(0, |(line, _)| *line);
            let (message, remedy) = if is_certificate(&found[0]) {
                ("is a certificate with a private key in it, and what is trusted gets published", INNER_KEY_REMEDY)
            } else if is_private_key(&found[0]) {
                ("has a private key (`CERTIFICATE`), and what is trusted gets published", KEY_REMEDY)
            } else {
                ("has a `CERTIFICATE` that is none, wanted one as X.509 has it", "convert it with `openssl x509`")
            };
            Err(RefusedCertificate { line, message: message.into(), remedy })
        }
        Ok(found) if found.len() > 1 => {
            Err(whole(format!("holds {} certificates", found.len()), "put each into a file of its own"))
        }
        _ => Err(whole("is not a PEM certificate".into(), "convert it with `openssl x509`")),
    }
}

/// Returns the last day of the certificate in the PEM file `content`, as `YYYY-MM-DD`, if it was before `now`. iPXE checks
/// the time of a root certificate, too, and trusts none that has ended.
#[must_use]
pub fn ended(content: &[u8], now: SystemTime) -> Option<String> {
    let der = CertificateDer::from_pem_slice(content).ok()?;
    let day = last_day(&der).filter(|day| *day < date(now))?;
    Some(format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]))
}

/// Returns the date of `time` in UTC, as `YYYY-MM-DD`.
#[must_use]
pub fn day(time: SystemTime) -> String {
    let day = date(time);
    format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..])
}

/// Returns the date of `time` in UTC, as `YYYYMMDD`. Source: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`, for days since 1970.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let day = seconds / 86_400 + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{:02}", of_year - (153 * shifted + 2) / 5 + 1)
}

/// Returns all certificates in `content` as minimal PEM, if it contains only certificates and text.
#[must_use]
pub fn certificates(content: &[u8]) -> Option<Vec<u8>> {
    let found = certificates_in_pem(content)?;
    Some(found.iter().flat_map(|certificate| pem(certificate)).collect())
}

/// Returns all certificates in `content` as DER, if it is one such certificate, or PEM of only certificates and text.
#[must_use]
pub fn certificates_as_der(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    if is_certificate(content) && !holds_key(content) {
        return Some(vec![content.to_vec()]);
    }
    Some(certificates_in_pem(content)?.iter().map(|certificate| certificate.to_vec()).collect())
}

fn certificates_in_pem(content: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let blocks = blocks(content);
    if blocks.is_empty() || blocks.iter().any(|(_, label)| label != "CERTIFICATE") {
        return None;
    }
    let found = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>().ok()?;
    // Behind a byte order mark or blanks, programs find no beginning.
    if found.len() != blocks.len() {
        return None;
    }
    let all = found.iter().all(|certificate| is_certificate(certificate) && !holds_key(certificate));
    all.then_some(found)
}

/// Checks whether a certificate contains a private key in one of its fields, such as an extension or a comment.
fn holds_key(certificate: &[u8]) -> bool {
    memchr::memchr_iter(0x30, certificate).any(|at| is_private_key(&certificate[at..]))
        || secrets::find(certificate).iter().any(|secret| secret.kind == secrets::SecretKind::PrivateKey)
}

/// Returns the labels of the PEM blocks that begin in `content`, each with its line.
fn blocks(content: &[u8]) -> Vec<(usize, String)> {
    let lines = content.split(|byte| *byte == b'\n').enumerate();
    let labels = |(index, line): (usize, &[u8])| {
        let line = String::from_utf8_lossy(line);
        // Anywhere in the line, because text that a program would skip is published all the same. If lines end with
        // `\r` alone, all blocks are on one line.
        let begun = line.split("-----BEGIN ").skip(1).filter_map(|rest| rest.split("-----").next());
        begun.map(|label| (index + 1, label.trim().to_owned())).collect::<Vec<_>>()
    };
    lines.flat_map(labels).collect()
}

fn pem(certificate: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(certificate);
    let mut text = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in body.as_bytes().chunks(64) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(b"-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: &str = include_str!("../../../../fixtures/ca.pem");

    #[test]
    fn a_certificate_that_has_ended_is_known_by_its_last_day() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (seconds, day) in
            [(0, "19700101"), (951_782_400, "20000229"), (951_868_800, "20000301"), (1_780_271_999, "20260531")]
        {
            assert_eq!(date(at(seconds)), day);
        }
        // It ends on 2126-11-04.
        assert_eq!(ended(ONE.as_bytes(), at(1_790_000_000)), None);
        assert_eq!(ended(ONE.as_bytes(), at(5_000_000_000)), Some("2126-11-04".to_owned()));
    }

    #[test]
    fn only_the_certificate_goes_on() {
        let noisy = format!(
            "Bag Attributes\n    friendlyName: secret project\nsubject=CN = x\n{}\nmore\n",
            ONE.replace('\n', "\r\n")
        );
        assert_eq!(certificate(noisy.as_bytes()).unwrap(), ONE.as_bytes());
        assert_eq!(certificate(ONE.replace('\n', "\r").as_bytes()).unwrap(), ONE.as_bytes());
        assert_eq!(certificates(format!("a\n{ONE}b\n{ONE}").as_bytes()).unwrap(), ONE.repeat(2).as_bytes());
        for lines in ["\r\n", "\r"] {
            let text = format!("a\n{ONE}b\n{ONE}").replace('\n', lines);
            assert_eq!(certificates(text.as_bytes()).unwrap(), ONE.repeat(2).as_bytes(), "{lines:?}");
        }
        assert!(ONE.lines().all(|line| line.len() <= 64));
        let der = certificates_as_der(noisy.as_bytes()).unwrap();
        assert_eq!(certificates_as_der(&der[0]).unwrap(), der);
        assert_eq!(certificates_as_der(ONE.repeat(2).as_bytes()).unwrap(), [&der[0][..], &der[0]]);
        assert_eq!(certificates_as_der(&der[0][1..]), None);
        for before in ["\u{feff}", " ", "> "] {
            for text in [format!("{before}{ONE}"), format!("{before}{ONE}{ONE}"), format!("{ONE}{before}{ONE}")] {
                assert_eq!(certificates(text.as_bytes()), None, "{text}");
                let refused = certificate(text.as_bytes()).unwrap_err();
                assert!(refused.message.contains("that does not begin its line"), "{refused:?}");
            }
        }
    }

    #[test]
    fn a_key_beside_a_certificate_is_refused_wherever_it_stands() {
        let lines = ONE.lines().count();
        for label in
            ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"]
        {
            let key = format!("-----BEGIN {label}-----\nMC4CAQ==\n-----END {label}-----\n");
            for (text, line) in [
                (format!("{ONE}{key}"), lines + 1),
                (format!("{key}{ONE}"), 1),
                (format!("{ONE}# {key}"), lines + 1),
                (format!("{ONE}{key}").replace('\n', "\r"), 1),
            ] {
                let refused = certificate(text.as_bytes()).unwrap_err();
                assert_eq!(refused.line, line);
                assert_eq!(
                    refused.message,
                    format!("has a private key (`{label}`), and what is trusted gets published")
                );
                assert_eq!(certificates(text.as_bytes()), None);
            }
        }
        let request = format!("{ONE}-----BEGIN CERTIFICATE REQUEST-----\nMC4=\n-----END CERTIFICATE REQUEST-----\n");
        assert!(certificate(request.as_bytes()).unwrap_err().message.starts_with("has a `CERTIFICATE REQUEST`"));
        assert_eq!(certificate(ONE.repeat(2).as_bytes()).unwrap_err().message, "holds 2 certificates");
    }

    #[test]
    fn only_a_certificate_is_taken_for_one() {
        let labelled = |der: &[u8]| String::from_utf8(pem(der)).unwrap();
        let der = CertificateDer::from_pem_slice(ONE.as_bytes()).unwrap();
        let key = STANDARD.decode("MC4CAQAwBQYDK2VwBCIEIMnbNuxsy7xbufBDhw1NJO3psX5nvhyYnYqiLKulQWQN").unwrap();
        let refused = certificate(format!("\n{}", labelled(&key)).as_bytes()).unwrap_err();
        assert_eq!(
            (refused.line, refused.message.as_str()),
            (2, "has a private key (`CERTIFICATE`), and what is trusted gets published")
        );
        let behind = [&der[..], &key].concat();
        let outer = [&[0x30, 0x82], &u16::try_from(behind.len()).unwrap().to_be_bytes()[..], &behind].concat();
        for other in [&[7; 100][..], &der[..der.len() - 1], &behind, &outer, &[0x30, 0], b"\x30\x80\x00\x00", &[]] {
            let refused = certificate(labelled(other).as_bytes()).unwrap_err();
            assert_eq!(refused.message, "has a `CERTIFICATE` that is none, wanted one as X.509 has it");
            assert_eq!(certificates(format!("{ONE}{}", labelled(other)).as_bytes()), None);
        }
    }
    #[test]
    fn a_key_in_a_field_of_a_certificate_is_refused() {
        let element = |tag: u8, content: &[u8]| {
            [&[tag, 0x82], &u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
        };
        // The structure that `openssl req -x509 -addext 1.2.3.4=DER:x` writes, with every field that no check reads
        // left empty.
        let with = |extension: &[u8]| {
            let extension = element(0x30, &[&[6, 3, 0x2a, 3, 4], &element(4, extension)[..]].concat());
            let extensions = element(0xa3, &element(0x30, &extension));
            let fields =
                [&[2, 1, 7, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 4, 0x30, 0, 3, 0], &extensions[..]].concat();
            let certificate = element(0x30, &[&element(0x30, &fields)[..], &[0x30, 0, 3, 0]].concat());
            String::from_utf8(pem(&certificate)).unwrap()
        };
        let key = STANDARD.decode("MC4CAQAwBQYDK2VwBCIEIMnbNuxsy7xbufBDhw1NJO3psX5nvhyYnYqiLKulQWQN").unwrap();
        let text = format!("-----BEGIN PRIVATE KEY-----\n{}\n", STANDARD.encode(&key));
        for hidden in [&key[..], &element(4, &key), &element(0x30, &element(4, &key)), text.as_bytes()] {
            let refused = certificate(format!("\n{}", with(hidden)).as_bytes()).unwrap_err();
            assert_eq!(
                (refused.line, refused.message.as_str()),
                (2, "is a certificate with a private key in it, and what is trusted gets published")
            );
            assert_eq!(certificates(format!("{ONE}{}", with(hidden)).as_bytes()), None);
        }
        for other in [&[7; 64][..], &element(0x30, &[2, 1, 0]), &key[16..], b"-----BEGIN PUBLIC KEY-----"] {
            certificate(with(other).as_bytes()).unwrap();
        }
    }
}
