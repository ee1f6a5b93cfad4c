//! Signatures of EFI applications, as Secure Boot reads them: the digest that is signed, who has signed it, and the
//! component's SBAT level.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format" (2008), and UEFI 2.10, chapter 32. Whether a
//! signature counts on a machine depends on the keys in its firmware; nothing here decides that.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::der::{Any, Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::base::der::has_more_elements;
use crate::digest::{Hasher, Sha256Digest};

/// Content of a signature over a file.
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// Maximum number of signatures of a file that are read.
const MAX_SIGNATURES: usize = 16;
/// Maximum size in bytes of a signature that is read; one with a long chain has 10,000.
const MAX_SIGNATURE: usize = 1 << 20;
/// Maximum number of values of a signature or certificate that are read; a signature of Microsoft's has 500.
const MAX_VALUES: usize = 8192;
/// Maximum number of bytes of a section with SBAT levels that are read; shim's has 100.
const MAX_SBAT: usize = 8 << 10;
/// Maximum number of certificates of a signature that are read; a chain with time stamps has seven.
const MAX_CERTIFICATES: usize = 32;

/// What an EFI application says about its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// SHA-256 by Authenticode: of everything that a signature covers.
    pub digest: Sha256Digest,
    /// The signatures, in the order of the file; each with the reason why it does not hold, if there is one.
    pub signatures: Vec<Result<Signature, String>>,
    /// Components and their generations, as lines of CSV: what Secure Boot can revoke.
    pub sbat: Option<String>,
}

/// A signature that holds: it was made of these bytes with the key of the first certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The signer's certificate, then those that issued it, as far as they come with the signature.
    pub chain: Vec<SigningCertificate>,
}

/// A certificate of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningCertificate {
    /// Its owner.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its last second.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate.
    pub sha256: Sha256Digest,
    /// The certificate itself (DER).
    pub der: Vec<u8>,
}

impl Signatures {
    /// Reads the signatures of `content`, an EFI application.
    ///
    /// # Errors
    ///
    /// A message if its headers contradict each other, so that programs may disagree about what is signed.
    pub fn of(content: &[u8]) -> Result<Self, String> {
        let headers = Headers::read(content)?;
        let digest = headers.digest(content)?;
        let signed = |entry: &[u8]| read(entry, digest).map_err(str::to_owned);
        let signatures = headers.entries(content)?.into_iter().map(signed).collect();
        Ok(Self { digest, signatures, sbat: headers.section(content, *b".sbat\0\0\0").map(sbat) })
    }
}

/// Checks whether an EFI application has a table of signatures, which need not hold, by its first bytes.
#[must_use]
pub fn has_table(headers: &[u8]) -> bool {
    Headers::read(headers).is_ok_and(|Headers { table: (start, end), .. }| start < end)
}

/// Describes machines whose `db` has what `signers` lead to of Microsoft's authorities for others' programs, judged by
/// the names of the issuers; `None` if they lead to none.
///
/// Source: Microsoft, "Windows Secure Boot certificate expiration and CA updates" (KB5062710).
pub fn microsofts_machines<'c>(signers: impl Iterator<Item = &'c SigningCertificate>) -> Option<&'static str> {
    let authorities = ["CN=Microsoft Corporation UEFI CA 2011,", "CN=Microsoft UEFI CA 2023,"];
    let mut known = [false; 2];
    for signer in signers {
        for (known, name) in known.iter_mut().zip(authorities) {
            *known |= signer.issuer.starts_with(name) || signer.subject.starts_with(name);
        }
    }
    match known {
        [true, true] => Some("with Microsoft's authority of 2011 or of 2023"),
        [true, false] => {
            Some("with Microsoft's authority of 2011, which new machines may lack; it ended on 2026-06-27")
        }
        [false, true] => Some("with Microsoft's authority of 2023, which older machines get by an update"),
        [false, false] => None,
    }
}

/// Removes the signatures of `content`, an EFI application.
///
/// # Errors
///
/// A message if its headers contradict each other; then `content` is as before.
pub fn remove_signatures(content: &mut Vec<u8>) -> Result<(), String> {
    let Headers { checksum, directory, table: (start, _), .. } = Headers::read(content)?;
    let fields = [checksum..checksum + 4, directory..directory + 8];
    if start > content.len() || fields.iter().any(|field| field.end > start) {
        return Err("its signatures are not in the file".to_owned());
    }
    content.truncate(start);
    for field in fields {
        content[field].fill(0);
    }
    Ok(())
}

/// Returns the content of the section `name` of an EFI application; `None` if it has no such section. A name of more than
/// eight bytes is in the table of strings behind the symbols, or cut off.
///
/// # Errors
///
/// A message if its headers contradict each other.
pub(super) fn section<'c>(content: &'c [u8], name: &str) -> Result<Option<&'c [u8]>, String> {
    let headers = Headers::read(content)?;
    let mut entry = [0; 8];
    for (to, from) in entry.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let is_wanted = |found: &[u8; 8]| match found.strip_prefix(b"/") {
        Some(at) => long_name(content, at).is_some_and(|long| long == name.as_bytes()),
        None => *found == entry,
    };
    let entry = headers.sections.iter().map(|(found, ..)| *found).find(is_wanted);
    Ok(entry.and_then(|entry| headers.section(content, entry)))
}

/// Returns the name that is at the decimal number `at` in the table of strings of a PE file.
fn long_name<'c>(content: &'c [u8], at: &[u8]) -> Option<&'c [u8]> {
    let u32_at = |at: usize| usize::try_from(u32::from_le_bytes(*content.get(at..)?.first_chunk()?)).ok();
    let pe = u32_at(0x3c)?;
    let (symbols, count) = (u32_at(pe + 12)?, u32_at(pe + 16)?);
    let at: usize = std::str::from_utf8(at).ok()?.trim_end_matches('\0').parse().ok()?;
    let start = count.checked_mul(18)?.checked_add(symbols)?.checked_add(at)?;
    content.get(start..)?.split(|byte| *byte == 0).next()
}

/// Returns the common name in `name`, a distinguished name as RFC 4514 writes it.
#[must_use]
pub fn common_name(name: &str) -> Option<&str> {
    name.split([',', '+']).find_map(|part| part.strip_prefix("CN="))
}

/// Returns the beginning of the text of a section with SBAT levels, which is padded with NUL bytes.
fn sbat(section: &[u8]) -> String {
    let text = section[..section.len().min(MAX_SBAT)].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Where the parts of a PE file are that matter for signatures; all inside of the file.
struct Headers {
    /// Offset of the checksum, which is not signed.
    checksum: usize,
    /// Offset of the entry for the table of signatures, which is not signed.
    directory: usize,
    /// End of all headers.
    end: usize,
    /// Sections with content: name, start and end.
    sections: Vec<([u8; 8], usize, usize)>,
    /// Start and end of the table of signatures; both are the end of the file if there is none.
    table: (usize, usize),
}

/// Number of the directory entry for the table of signatures.
const SECURITY: usize = 4;

impl Headers {
    fn read(content: &[u8]) -> Result<Self, String> {
        let short = || "its headers lead out of the file".to_owned();
        let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(*content.get(at..)?.first_chunk()?)));
        let u32_at = |at: usize| usize::try_from(u32::from_le_bytes(*content.get(at..)?.first_chunk()?)).ok();
        let pe = u32_at(0x3c).ok_or_else(short)?;
        let (sections, optional) = (u16_at(pe + 6).ok_or_else(short)?, pe + 24);
        let size = u16_at(pe + 20).ok_or_else(short)?;
        let directories = match u16_at(optional).ok_or_else(short)? {
            0x10b => optional + 96,
            0x20b => optional + 112,
            magic => return Err(format!("its optional header is of the unknown type {magic:#x}")),
        };
        let directory = directories + 8 * SECURITY;
        let end = u32_at(optional + 60).filter(|end| *end <= content.len()).ok_or_else(short)?;
        let count = u32_at(directories - 4).ok_or_else(short)?;
        if count <= SECURITY || directory + 8 > optional + size || directory + 8 > end {
            return Err("it has no place for signatures".into());
        }
        let mut found = Vec::new();
        for at in (0..sections).map(|number| optional + size + 40 * number) {
            let name = content.get(at..).and_then(<[u8]>::first_chunk::<8>).ok_or_else(short)?;
            let (length, start) = (u32_at(at + 16).ok_or_else(short)?, u32_at(at + 20).ok_or_else(short)?);
            if length > 0 {
                found.push((*name, start, start + length));
            }
        }
        found.sort_by_key(|(_, start, _)| *start);
        let (start, length) = (u32_at(directory).ok_or_else(short)?, u32_at(directory + 4).ok_or_else(short)?);
        let table = if length == 0 { (content.len(), content.len()) } else { (start, start + length) };
        Ok(Self { checksum: optional + 64, directory, end, sections: found, table })
    }

    /// Returns the digest of what signatures cover. All programs agree about it only if the sections follow the headers
    /// and each other, and the signatures are the end of the file.
    fn digest(&self, content: &[u8]) -> Result<Sha256Digest, String> {
        let mut at = self.end;
        for (name, start, end) in &self.sections {
            if *start != at || *end > self.table.0 {
                let name = String::from_utf8_lossy(name);
                return Err(format!(
                    "its section `{}` is not where it should be",
                    name.trim_end_matches('\0').escape_debug()
                ));
            }
            at = *end;
        }
        if self.table.1 != content.len() || self.table.0 < at {
            return Err("its signatures are not the end of the file".into());
        }
        let mut hasher = Hasher::default();
        let parts = [(0, self.checksum), (self.checksum + 4, self.directory), (self.directory + 8, self.table.0)];
        for (start, end) in parts {
            let part = content.get(start..end).ok_or("its headers lead out of the file")?;
            hasher.write_all(part).expect("memory does not fail");
        }
        // Signers fill the file up to a multiple of eight bytes before the first signature.
        let missing = if self.table.0 == content.len() { content.len().next_multiple_of(8) - content.len() } else { 0 };
        hasher.write_all(&[0; 8][..missing]).expect("memory does not fail");
        Ok(hasher.finish())
    }

    /// Returns the entries of the table of signatures.
    fn entries<'c>(&self, content: &'c [u8]) -> Result<Vec<&'c [u8]>, String> {
        let mut rest = &content[self.table.0..self.table.1];
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let wrong = || "its table of signatures lies about a length".to_owned();
            let length = rest.first_chunk::<4>().and_then(|it| usize::try_from(u32::from_le_bytes(*it)).ok());
            let length = length.filter(|length| (8..=rest.len()).contains(length)).ok_or_else(wrong)?;
            if entries.len() == MAX_SIGNATURES || length > MAX_SIGNATURE {
                return Err(format!(
                    "it has more than {MAX_SIGNATURES} signatures, or one of more than {MAX_SIGNATURE} bytes"
                ));
            }
            entries.push(&rest[..length]);
            rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
        }
        Ok(entries)
    }

    /// Returns the content of the section whose entry has `name`, which is as long as the entry has place for.
    fn section<'c>(&self, content: &'c [u8], name: [u8; 8]) -> Option<&'c [u8]> {
        let (_, start, end) = self.sections.iter().find(|(found, ..)| *found == name)?;
        content.get(*start..*end)
    }
}

/// Reads an entry of the table of signatures of a file with the digest `wanted`.
fn read(entry: &[u8], wanted: Sha256Digest) -> Result<Signature, &'static str> {
    // Revision 2.0, PKCS #7.
    if entry.get(4..8) != Some(&[0, 2, 2, 0]) {
        return Err("it is of an unknown kind");
    }
    if has_more_elements(&entry[8..], MAX_VALUES) {
        return Err("it has more than 8192 values");
    }
    let broken = |_| "it cannot be read";
    // Padding follows it.
    let mut reader = SliceReader::new(&entry[8..]).map_err(broken)?;
    let outer = ContentInfo::decode(&mut reader).map_err(broken)?;
    let padding = usize::try_from(reader.remaining_len()).unwrap_or(usize::MAX);
    let padding = entry.len().checked_sub(padding).map_or(entry, |start| &entry[start..]);
    if padding.len() >= 8 || padding.iter().any(|byte| *byte != 0) {
        return Err("more than padding follows it");
    }
    if outer.content_type != SIGNED_DATA {
        return Err("it is no signed data");
    }
    let signed: SignedData = outer.content.decode_as().map_err(broken)?;
    let inner = signed
        .encap_content_info
        .econtent
        .as_ref()
        .filter(|_| signed.encap_content_info.econtent_type == INDIRECT_DATA);
    let inner = inner.ok_or("it is not about a file")?;
    let (algorithm, digest) = signed_digest(inner).ok_or("it cannot be read")?;
    if algorithm != SHA256 {
        return Err("it is of another digest than SHA-256");
    }
    if digest.as_bytes() != wanted.as_bytes() {
        return Err("it was made of other bytes");
    }
    let [signer] = signed.signer_infos.0.as_slice() else { return Err("it has no signer, or several") };
    let certificates = signed.certificates.as_ref().map(|set| set.0.as_slice()).unwrap_or_default();
    let certificates: Vec<&Certificate> = certificates
        .iter()
        .filter_map(|choice| if let CertificateChoices::Certificate(it) = choice { Some(it) } else { None })
        .collect();
    if certificates.len() > MAX_CERTIFICATES {
        return Err("it has more than 32 certificates");
    }
    let SignerIdentifier::IssuerAndSerialNumber(id) = &signer.sid else { return Err("it does not name its signer") };
    let is_signer = |it: &&&Certificate| {
        it.tbs_certificate.issuer == id.issuer && it.tbs_certificate.serial_number == id.serial_number
    };
    let own = certificates.iter().find(is_signer).ok_or("its signer's certificate is missing")?;
    check(signer, inner.value(), own)?;
    let chain = chain(own, &certificates).into_iter().map(SigningCertificate::of).collect::<Option<_>>();
    Ok(Signature { chain: chain.ok_or("its certificates cannot be read")? })
}

/// Returns the digest in the content of a signature, and its algorithm.
fn signed_digest(content: &Any) -> Option<(ObjectIdentifier, OctetString)> {
    let [_, info] = <[Any; 2]>::try_from(content.decode_as::<Vec<Any>>().ok()?).ok()?;
    let [algorithm, digest] = <[Any; 2]>::try_from(info.decode_as::<Vec<Any>>().ok()?).ok()?;
    Some((algorithm.decode_as::<AlgorithmIdentifierOwned>().ok()?.oid, digest.decode_as().ok()?))
}

/// Checks that `signer` has signed `content` with the key of `certificate`.
fn check(signer: &SignerInfo, content: &[u8], certificate: &Certificate) -> Result<(), &'static str> {
    let attributes = signer.signed_attrs.as_ref().ok_or("it has no signed attributes")?;
    let stated = attributes.iter().filter(|attribute| attribute.oid == MESSAGE_DIGEST).flat_map(|it| it.values.iter());
    let stated: Vec<&[u8]> = stated.map(Any::value).collect();
    if stated != [Sha256Digest::of(content).as_bytes()] {
        return Err("its signed digest is another");
    }
    let message = attributes.to_der().map_err(|_| "it cannot be read")?;
    verify(certificate, &message, signer.signature.as_bytes()).ok_or("it was not made with its certificate's key")
}

/// Checks an RSA signature with SHA-256.
fn verify(certificate: &Certificate, message: &[u8], signature: &[u8]) -> Option<()> {
    let key = certificate.tbs_certificate.subject_public_key_info.subject_public_key.as_bytes()?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature).ok()
}

/// Checks whether `issuer` is an authority, and has issued `certificate`.
fn is_issued(certificate: &Certificate, issuer: &Certificate) -> bool {
    let constraints = issuer.tbs_certificate.get::<BasicConstraints>();
    constraints.is_ok_and(|it| it.is_some()) && is_issued_by_anchor(certificate, issuer)
}

/// Checks whether `anchor`, which is trusted whatever it says about itself, has issued `certificate`. It must not say
/// that it is no authority.
fn is_issued_by_anchor(certificate: &Certificate, anchor: &Certificate) -> bool {
    let named = anchor.tbs_certificate.subject == certificate.tbs_certificate.issuer;
    let may =
        anchor.tbs_certificate.get::<KeyUsage>().is_ok_and(|it| it.is_none_or(|(_, usage)| usage.key_cert_sign()));
    let constraints = anchor.tbs_certificate.get::<BasicConstraints>();
    let is_authority = may && constraints.is_ok_and(|it| it.is_none_or(|(_, constraints)| constraints.ca));
    let tbs = certificate.tbs_certificate.to_der();
    named && is_authority && tbs.is_ok_and(|tbs| verify(anchor, &tbs, certificate.signature.raw_bytes()).is_some())
}

/// Returns `own` and those of `all` that issued it, each of which is checked with the key of the next.
fn chain<'c>(own: &'c Certificate, all: &[&'c Certificate]) -> Vec<&'c Certificate> {
    let mut chain = vec![own];
    while chain.len() <= all.len() {
        let last = chain[chain.len() - 1];
        let issued = |it: &&&Certificate| !chain.contains(*it) && is_issued(last, it);
        match all.iter().find(issued) {
            Some(issuer) => chain.push(issuer),
            None => break,
        }
    }
    chain
}

impl Signature {
    /// Checks whether `certificate` is one of the chain, or has issued the last of it.
    #[must_use]
    pub fn leads_to(&self, certificate: &SigningCertificate) -> bool {
        self.has(certificate, is_issued)
    }

    /// Checks the same for `anchor`, a certificate that a shim trusts whatever it says about itself.
    #[must_use]
    pub fn leads_to_anchor(&self, anchor: &SigningCertificate) -> bool {
        self.has(anchor, is_issued_by_anchor)
    }

    fn has(&self, certificate: &SigningCertificate, is_issued: fn(&Certificate, &Certificate) -> bool) -> bool {
        let issuer = Certificate::from_der(&certificate.der);
        let has_issued = |it: &SigningCertificate| {
            Certificate::from_der(&it.der).is_ok_and(|it| issuer.as_ref().is_ok_and(|issuer| is_issued(&it, issuer)))
        };
        self.chain.iter().any(|it| it.sha256 == certificate.sha256 || has_issued(it))
    }
}

impl SigningCertificate {
    /// Reads the first certificate in the content of a file, PEM or DER; `None` if there is none.
    #[must_use]
    pub fn read(content: &[u8]) -> Option<Self> {
        let pem = CertificateDer::from_pem_slice(content).ok();
        Self::from_der(pem.as_ref().map_or(content, |der| der))
    }

    /// Reads a certificate; `None` if it cannot be read.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        if has_more_elements(der, MAX_VALUES) {
            return None;
        }
        Self::of(&Certificate::from_der(der).ok()?)
    }

    /// Returns what the key is, if it is none whose signatures count: RSA of 2048 to 8192 bits.
    #[must_use]
    pub fn unfit_key(&self) -> Option<String> {
        let certificate = Certificate::from_der(&self.der).ok()?;
        let info = certificate.tbs_certificate.subject_public_key_info;
        if info.algorithm.oid != RSA {
            return Some(format!("a key of the kind {}", info.algorithm.oid));
        }
        let numbers = <Vec<Any> as x509_cert::der::Decode>::from_der(info.subject_public_key.raw_bytes());
        let bits = numbers.ok().as_ref().and_then(|numbers| numbers.first()).map_or(0, |modulus| {
            let number = modulus.value().iter().skip_while(|byte| **byte == 0);
            let first = number.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
            (number.count() * 8).saturating_sub(first)
        });
        (!(2048..=8192).contains(&bits)).then(|| format!("an RSA key of {bits} bits"))
    }

    fn of(certificate: &Certificate) -> Option<Self> {
        let fields = &certificate.tbs_certificate;
        let not_after: Duration = fields.validity.not_after.to_unix_duration();
        let der = certificate.to_der().ok()?;
        Some(Self {
            subject: fields.subject.to_string(),
            issuer: fields.issuer.to_string(),
            not_after: SystemTime::UNIX_EPOCH.checked_add(not_after)?,
            sha256: Sha256Digest::of(&der),
            der,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::loader::smallest_application::{CHECKSUM, DIRECTORY, SBAT, SECTIONS, application};

    /// Returns the application with a table of signatures that has `entries`.
    fn with_table(entries: &[u8]) -> Vec<u8> {
        let mut bytes = application();
        let place = [bytes.len(), entries.len()].map(|number| u32::try_from(number).unwrap().to_le_bytes()).concat();
        bytes[DIRECTORY..DIRECTORY + 8].copy_from_slice(&place);
        [bytes, entries.to_vec()].concat()
    }

    #[test]
    fn a_signed_application_becomes_what_it_was_before() {
        let signed = with_table(&[&16_u32.to_le_bytes()[..], &[0, 2, 2, 0], &[0; 8]].concat());
        assert_eq!(Signatures::of(&signed).unwrap().signatures.len(), 1);
        assert!(has_table(&signed[..0x400]) && !has_table(&application()) && !has_table(&signed[..0x100]));
        for content in [&signed, &application()] {
            let mut plain = content.clone();
            remove_signatures(&mut plain).unwrap();
            assert_eq!(plain, application());
        }
        let mut outside = signed;
        outside[DIRECTORY + 3] = 0x7f;
        let before = outside.clone();
        assert_eq!(remove_signatures(&mut outside).unwrap_err(), "its signatures are not in the file");
        assert_eq!(outside, before);
    }

    #[test]
    fn what_is_signed_leaves_out_the_checksum_and_the_place_of_the_signatures() {
        let plain = Signatures::of(&application()).unwrap();
        assert_eq!((plain.signatures.len(), plain.sbat.as_deref()), (0, Some(SBAT)));
        let changed = |at: usize| {
            let mut bytes = application();
            bytes[at] ^= 1;
            Signatures::of(&bytes).unwrap().digest != plain.digest
        };
        for at in [CHECKSUM, CHECKSUM + 3] {
            assert!(!changed(at), "{at}");
        }
        for at in [CHECKSUM - 8, CHECKSUM + 4, DIRECTORY - 1, DIRECTORY + 8, 0x400, 0x7ff] {
            assert!(changed(at), "{at}");
        }
        let entry = [&16_u32.to_le_bytes()[..], &[0, 2, 2, 0], &[0; 8]].concat();
        let signed = Signatures::of(&with_table(&entry)).unwrap();
        assert_eq!((signed.digest, signed.signatures), (plain.digest, vec![Err("it cannot be read".to_owned())]));
    }

    #[test]
    fn a_file_about_whose_signed_part_programs_disagree_is_refused() {
        let refused = |bytes: &[u8]| Signatures::of(bytes).unwrap_err();
        let entry = [&16_u32.to_le_bytes()[..], &[0; 12]].concat();
        let signed = with_table(&entry);
        assert_eq!(refused(&[&signed[..], b"more"].concat()), "its signatures are not the end of the file");
        assert_eq!(refused(&signed[..signed.len() - 1]), "its signatures are not the end of the file");
        let lies = with_table(&[&32_u32.to_le_bytes()[..], &[0; 12]].concat());
        assert_eq!(refused(&lies), "its table of signatures lies about a length");
        let many = with_table(&[&8_u32.to_le_bytes()[..], &[0; 4]].concat().repeat(MAX_SIGNATURES + 1));
        assert!(refused(&many).starts_with("it has more than 16 signatures"));
        let mut gap = application();
        gap[SECTIONS + 40 + 21] += 1;
        assert_eq!(refused(&gap), "its section `.sbat` is not where it should be");
        assert_eq!(refused(&application()[..0x90]), "its headers lead out of the file");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..0x300, value: u8, length in 0_usize..0x900, more: Vec<u8>) {
            let mut bytes = with_table(&more);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(length.max(at));
            let _ = Signatures::of(&bytes);
        }
    }
}
