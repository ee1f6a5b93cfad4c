//! Failures of TLS, in words: what is wrong with a certificate, and why there is no connection at all.

/// Reason for refusing a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFlaw {
    /// No known authority has issued it.
    #[error("no authority that this system trusts has signed it")]
    UnknownIssuer,
    /// There are no authorities.
    #[error("this system trusts no authority at all")]
    NoAuthorities,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time is still to come.
    #[error("it is not valid yet")]
    NotValidYet,
    /// It names other hosts.
    #[error("it is another host's")]
    OtherHost,
    /// It may issue certificates, as most that sign themselves may.
    #[error("it is that of an authority, which cannot be a server's as well")]
    Authority,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl CertificateFlaw {
    /// Checks whether adding an authority to the system's store would help.
    pub(super) fn is_of_store(&self) -> bool {
        matches!(self, Self::UnknownIssuer | Self::NoAuthorities)
    }
}

/// Returns the error of TLS in `error`.
pub(super) fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Returns why a certificate was refused.
pub(super) fn certificate(error: &rustls::Error) -> Option<CertificateFlaw> {
    use rustls::CertificateError as C;
    let flaw = match error {
        rustls::Error::InvalidCertificate(flaw) => flaw,
        rustls::Error::General(text) if text.contains("No CA certificates") => {
            return Some(CertificateFlaw::NoAuthorities);
        }
        _ => return None,
    };
    Some(match flaw {
        C::UnknownIssuer => CertificateFlaw::UnknownIssuer,
        C::Expired | C::ExpiredContext { .. } => CertificateFlaw::Expired,
        C::NotValidYet | C::NotValidYetContext { .. } => CertificateFlaw::NotValidYet,
        C::NotValidForName | C::NotValidForNameContext { .. } => CertificateFlaw::OtherHost,
        // The verifier's own type of this error is not public.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => CertificateFlaw::Authority,
        other => CertificateFlaw::Other(other.to_string()),
    })
}

/// Returns why a handshake failed for good.
pub(super) fn disagreement(error: &rustls::Error) -> Option<String> {
    use rustls::AlertDescription as A;
    match error {
        rustls::Error::AlertReceived(A::ProtocolVersion) => Some("it refuses these versions".into()),
        rustls::Error::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity) => {
            Some("it refuses what was offered".into())
        }
        rustls::Error::PeerIncompatible(_) => Some("what it offers is too old".into()),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            Some("what it sends is not TLS; an address with http:// may be meant".into())
        }
        _ => None,
    }
}
