//! Signatures of a tree's loaders, as a verification compares them with the manifest.

use super::manifest::{ManifestEntry, SignerEntry};
use crate::digest::Sha256Digest;
use crate::loader::signature::{Signatures, SigningCertificate, has_table};
use crate::printable::printable;

/// What is kept of the signatures of a file.
pub(super) struct Signed {
    /// What they cover, or what is wrong with the file.
    digest: Result<Sha256Digest, String>,
    /// The first reason why one of them does not hold.
    broken: Option<String>,
    /// Who has signed: name and digest of the certificate.
    signers: Vec<(String, Sha256Digest)>,
    /// Whether one of them leads to the certificate that was asked for.
    leads_there: bool,
}

impl Signed {
    /// Reads the signatures of `content`, an EFI application, if it has any. Returns them with the certificates of those
    /// who have signed.
    pub(super) fn of(content: &[u8], demanded: Option<&SigningCertificate>) -> Option<(Self, Vec<SigningCertificate>)> {
        if !has_table(content) {
            return None;
        }
        let read = Signatures::of(content);
        let (digest, signatures) = match read {
            Ok(Signatures { digest, signatures, .. }) => (Ok(digest), signatures),
            Err(problem) => (Err(problem), Vec::new()),
        };
        let leads_there = signatures.iter().flatten().any(|it| demanded.is_some_and(|wanted| it.leads_to(wanted)));
        let broken = signatures.iter().find_map(|it| it.as_ref().err().cloned());
        let certificates: Vec<SigningCertificate> =
            signatures.into_iter().flatten().filter_map(|it| it.chain.into_iter().next()).collect();
        let signers = certificates.iter().map(|it| (printable(&it.subject).to_string(), it.sha256)).collect();
        Some((Self { digest, broken, signers, leads_there }, certificates))
    }
}

/// Returns what is wrong with the signatures of `file`; `signer` is who has signed the tree's loaders according to the
/// manifest. If `is_demanded`, it must be signed with the certificate that the user `demanded`, whatever the
/// manifest says.
pub(super) fn problem(
    file: &ManifestEntry,
    (found, is_demanded): (Option<&Signed>, bool),
    signer: Option<&SignerEntry>,
    demanded: Option<&SigningCertificate>,
) -> Option<String> {
    let signer = signer.filter(|_| file.authenticode_sha256.is_some());
    let wanted = demanded.filter(|_| is_demanded).map(|it| it.subject.as_str()).or(signer.map(|it| it.signer.as_str()));
    let Some(Signed { digest, broken, signers, leads_there }) = found else {
        return wanted.map(|wanted| format!("has no signature, wanted one of `{}`", printable(wanted)));
    };
    match digest {
        Err(problem) => return Some(format!("has signatures that cannot be read: {problem}")),
        Ok(digest) if file.authenticode_sha256.is_some_and(|wanted| wanted != *digest) => {
            return Some("is signed, but what is signed is not what the manifest says".into());
        }
        Ok(_) => {}
    }
    if let Some(problem) = broken {
        return Some(format!("has a signature that does not hold: {problem}"));
    }
    let is_signer = |signer: &SignerEntry| {
        let name = printable(&signer.signer).to_string();
        signers.iter().any(|(found, digest)| *digest == signer.certificate_sha256 && *found == name)
    };
    let fits = signer.is_none_or(is_signer) && (!is_demanded || *leads_there);
    let names = || signers.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
    (!fits).then(|| format!("is signed by {}, wanted `{}`", names(), printable(wanted.unwrap_or_default())))
}
