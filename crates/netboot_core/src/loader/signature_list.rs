//! EFI signature lists: the format in which firmware keeps the certificates that Secure Boot trusts.
//!
//! Source: UEFI 2.10, 32.4.1 "Signature Database".

/// Identifier as firmware stores it: the first three fields have their low byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EfiGuid([u8; 16]);

impl EfiGuid {
    /// Creates the identifier whose digits are those of `digits`, as it is written in the specification.
    #[must_use]
    pub const fn new(digits: u128) -> Self {
        let from = digits.to_be_bytes();
        let mut bytes = from;
        [bytes[0], bytes[1], bytes[2], bytes[3]] = [from[3], from[2], from[1], from[0]];
        [bytes[4], bytes[5], bytes[6], bytes[7]] = [from[5], from[4], from[7], from[6]];
        Self(bytes)
    }

    /// Namespace of the variables that the UEFI specification defines (`EFI_GLOBAL_VARIABLE`).
    pub const GLOBAL: Self = Self::new(0x8be4df61_93ca_11d2_aa0d_00e098032b8c);
    /// Namespace of `db` and `dbx` (`EFI_IMAGE_SECURITY_DATABASE_GUID`).
    pub const DATABASE: Self = Self::new(0xd719b2cb_3d3a_4596_a3bc_dad00e67656f);
    /// Namespace of the variables of `shim`, a loader that Microsoft has signed for each distribution.
    pub const SHIM: Self = Self::new(0x605dab50_e046_4300_abb6_3dd810dd8b23);

    /// Returns the bytes in a variable.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Owner of this tool's entries in the firmware, d6dc4f3e-8d2c-4f6b-9f0b-6e65746c6472: firmware menus show it beside a
/// certificate. Chosen at random, once.
pub const OWNER: EfiGuid = EfiGuid::new(0xd6dc4f3e_8d2c_4f6b_9f0b_6e65746c6472);

/// Type of a list of certificates (`EFI_CERT_X509_GUID`).
const X509: EfiGuid = EfiGuid::new(0xa5c059a1_94e4_4aa7_87b5_ab155c2bf072);

/// Size of a list's header in bytes: its type, then three lengths.
const HEADER: usize = 16 + 3 * 4;

/// Returns lists of `certificates` (DER), all entries of which belong to `owner`. All entries of a list have one length, so
/// each certificate has a list of its own.
pub fn signature_list(owner: EfiGuid, certificates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut lists = Vec::new();
    for certificate in certificates {
        let entry = [owner.as_bytes(), certificate.as_ref()].concat();
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        lists.extend_from_slice(X509.as_bytes());
        // Length of the list, of the header after this one, and of each entry.
        for bytes in [HEADER + entry.len(), 0, entry.len()] {
            lists.extend_from_slice(&length(bytes));
        }
        lists.extend_from_slice(&entry);
    }
    lists
}

/// Returns the certificates (DER) in `lists`, the entries of other types aside; `None` if these are no signature lists.
#[must_use]
pub fn certificates(lists: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    let mut rest = lists;
    while !rest.is_empty() {
        let length = |at: usize| usize::try_from(u32::from_le_bytes(*rest.get(at..)?.first_chunk()?)).ok();
        let (all, header, each) = (length(16)?, length(20)?, length(24)?);
        let entries = rest.get(HEADER.checked_add(header)?..all)?;
        // An entry begins with its owner.
        if each <= 16 || entries.len() % each != 0 {
            return None;
        }
        if rest.starts_with(X509.as_bytes()) {
            found.extend(entries.chunks(each).map(|entry| &entry[16..]));
        }
        rest = &rest[all..];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_has_a_list_of_its_own() {
        let lists = signature_list(OWNER, &[&b"first"[..], b"the second"]);
        let kind = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
        let owner = [0x3e, 0x4f, 0xdc, 0xd6, 0x2c, 0x8d, 0x6b, 0x4f, 0x9f, 0x0b, b'n', b'e', b't', b'l', b'd', b'r'];
        let list = |all: u8, each: u8, content: &[u8]| {
            [&kind[..], &[all, 0, 0, 0, 0, 0, 0, 0, each, 0, 0, 0], &owner, content].concat()
        };
        assert_eq!(lists, [list(49, 21, b"first"), list(54, 26, b"the second")].concat());
        assert!(signature_list(OWNER, &[[0_u8; 0]; 0]).is_empty());
        assert_eq!(certificates(&lists).unwrap(), [&b"first"[..], b"the second"]);
    }

    #[test]
    fn only_certificates_of_whole_lists_are_read() {
        let list = signature_list(OWNER, &[b"first"]);
        let mut of_digests = list.clone();
        of_digests[0] ^= 1;
        assert_eq!(certificates(&[&of_digests[..], &list].concat()).unwrap(), [b"first"]);
        for (at, value) in [(16, 0), (16, 27), (16, 50), (19, 255), (20, 255), (23, 255), (24, 0), (24, 16), (24, 20)] {
            let mut bad = list.clone();
            bad[at] = value;
            assert_eq!(certificates(&bad), None, "{at} {value}");
        }
        assert_eq!(certificates(&list[..list.len() - 1]), None);
        assert_eq!(certificates(&list[..20]), None);
    }
}
