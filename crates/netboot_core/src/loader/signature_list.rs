//! Signature lists: the format in which UEFI keeps the certificates that Secure Boot trusts, in the variables `PK`,
//! `KEK`, `db` and `dbx`.
//!
//! Source: UEFI 2.10, chapter 32.4.1 (`EFI_SIGNATURE_LIST`), and appendix A for identifiers.

/// An identifier, as UEFI stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guid([u8; 16]);

impl Guid {
    /// Vendor of the variables of `shim`, a loader that Microsoft has signed for each distribution.
    pub const SHIM: Self = Self::new(0x605d_ab50, 0xe046, 0x4300, [0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23]);
    /// Vendor of the variables that the UEFI specification defines.
    pub const GLOBAL: Self = Self::new(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
    /// Vendor of `db` and `dbx`.
    pub const IMAGE_SECURITY: Self =
        Self::new(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
    /// Type of a signature that is an X.509 certificate.
    const X509: Self = Self::new(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);

    /// Creates an identifier from its four parts, which are separated by hyphens in text; the last part has two of the
    /// groups.
    #[must_use]
    pub const fn new(a: u32, b: u16, c: u16, d: [u8; 8]) -> Self {
        let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        Self([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]])
    }

    /// Returns the bytes, of which the first three numbers are in little-endian order.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Returns signature lists with `certificates` (DER), which `owner` adds. Each certificate has a list of its own, since
/// all signatures in a list have the same size.
#[must_use]
pub fn signature_list(owner: Guid, certificates: &[&[u8]]) -> Vec<u8> {
    let mut lists = Vec::new();
    for certificate in certificates {
        let signature = owner.bytes().len() + certificate.len();
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        lists.extend(Guid::X509.bytes());
        // The size of the list, of a further header that this type does not have, and of each signature.
        lists.extend([number(28 + signature), number(0), number(signature)].concat());
        lists.extend(owner.bytes());
        lists.extend(*certificate);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_has_a_list_of_its_own() {
        let lists = signature_list(Guid::SHIM, &[b"one", b"other"]);
        let x509 = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
        let shim = [0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23];
        let first = [&x509[..], &[47, 0, 0, 0, 0, 0, 0, 0, 19, 0, 0, 0], &shim, b"one"].concat();
        let second = [&x509[..], &[49, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0], &shim, b"other"].concat();
        assert_eq!(lists, [first, second].concat());
        assert!(signature_list(Guid::SHIM, &[]).is_empty());
    }
}
