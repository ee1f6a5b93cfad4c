//! Linker output: the map that iPXE's makefile writes next to a loader, with the symbol table that make appends to it.

use std::collections::BTreeSet;

/// A link map.
#[derive(Debug, Clone, Copy)]
pub struct LinkMap<'m>(&'m str);

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// The symbol's name.
    pub name: String,
    /// The section that contains the symbol.
    pub section: String,
    /// The address.
    pub address: u64,
    /// The size in bytes; 0 if unknown.
    pub size: u64,
}

impl<'m> LinkMap<'m> {
    /// Wraps the content `text` of a link map.
    #[must_use]
    pub fn new(text: &'m str) -> Self {
        Self(text)
    }

    /// Returns the names of the objects that the linker took from the archive, without `.o`.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<&'m str> {
        let lines = self.0.lines().skip_while(|line| !line.starts_with("Archive member included"));
        let first = lines.take_while(|line| !line.starts_with("Discarded input") && !line.starts_with("Memory Conf"));
        let members = first.filter(|line| !line.starts_with(' ')).filter_map(|line| {
            let (_, member) = line.split_ascii_whitespace().next()?.split_once(".a(")?;
            member.strip_suffix(".o)")
        });
        members.collect()
    }

    /// Returns the start address of `section`.
    #[must_use]
    pub fn start(&self, section: &str) -> Option<u64> {
        let mut lines = self.0.lines().filter_map(|line| line.strip_prefix(section)?.trim_start().strip_prefix("0x"));
        u64::from_str_radix(lines.next()?.split_ascii_whitespace().next()?, 16).ok()
    }

    /// Returns the address of the symbol `name`.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.0.lines().filter_map(symbol).find(|symbol| symbol.name == name).map(|symbol| symbol.address)
    }

    /// Returns the nearest symbol at or below `address` in `section`, and its distance.
    #[must_use]
    pub fn nearest(&self, section: &str, address: u64) -> Option<(Symbol, u64)> {
        let below =
            self.0.lines().filter_map(symbol).filter(|symbol| {
                symbol.section == section && symbol.address <= address && !symbol.name.starts_with('.')
            });
        // Of several symbols at one address, one with a size is an object; others, such as `_data`, are markers.
        let nearest = below.max_by_key(|symbol| (symbol.address, symbol.size, !symbol.name.starts_with('_')))?;
        let distance = address - nearest.address;
        Some((nearest, distance))
    }
}

/// Parses a line of a symbol table: address, flags, section, a tab, size, name.
fn symbol(line: &str) -> Option<Symbol> {
    let (left, right) = line.split_once('\t')?;
    let mut left = left.split_ascii_whitespace();
    let address = u64::from_str_radix(left.next()?, 16).ok()?;
    let section = left.next_back()?.to_owned();
    let mut right = right.split_ascii_whitespace();
    let size = u64::from_str_radix(right.next()?, 16).ok()?;
    let name = right.next_back()?.to_owned();
    Some(Symbol { name, section, address, size })
}

#[cfg(test)]
mod tests {
    use netboot_fixtures::property::one_in;
    use proptest::prelude::*;

    use super::*;

    const MAP: &str = "\
Archive member included to satisfy reference by file (symbol)

bin/blib.a(acm.o)  (obj_acm)
bin/blib.a(ath5k_attach.o)
                              bin/blib.a(ath5k.o) (ath5k_hw_attach)
bin/blib.a(acm.o)             bin/blib.a(other.o) (x)

Discarded input sections

 .text bin/blib.a(never.o)
bin/blib.a(not-this.o)

.data           0x00000000000f0000    0x29f20

SYMBOL TABLE:
0000000000000000 g       *ABS*\t0000000000000000 .hidden _weak
00000000000f0000 l    d  .data\t0000000000000000 .data
00000000000f0000 l       .data\t0000000000000000 .hidden embedded_image_1_data
00000000000f0000 g       .data\t0000000000000000 _data
00000000000f1070 g     O .data\t0000000000000008 .hidden build_id
00000000000f1070 g       .data\t0000000000000000 _mark
00000000000f1000 g     F .text\t0000000000000008 other
";

    #[test]
    fn objects_are_those_of_the_first_part() {
        assert_eq!(LinkMap::new(MAP).objects().into_iter().collect::<Vec<_>>(), ["acm", "ath5k_attach"]);
        assert_eq!(LinkMap::new("").objects().len(), 0);
    }

    #[test]
    fn the_nearest_symbol_is_of_the_same_section() {
        let map = LinkMap::new(MAP);
        let nearest =
            |section, address| map.nearest(section, address).map(|(symbol, distance)| (symbol.name, distance));
        assert_eq!(nearest(".data", 0xf1073), Some(("build_id".into(), 3)));
        assert_eq!(nearest(".data", 0xf106f), Some(("embedded_image_1_data".into(), 0x106f)));
        assert_eq!(nearest(".text", 0xf0fff), None);
        assert_eq!((map.address("build_id"), map.address("nobody")), (Some(0xf1070), None));
        assert_eq!((map.start(".data"), map.start(".bss")), (Some(0xf0000), None));
    }

    proptest! {
        #![proptest_config(one_in(1))]

        #[test]
        fn the_nearest_symbol_is_one_that_the_map_has(
            lines in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of("[ a-z0-9.()\té]{0,12}")), 0..24),
            address in prop_oneof![0xf_0ffe..0xf_1002_u64, 0xf_106e..0xf_1074_u64, any::<u64>()],
        ) {
            let known: Vec<&str> = MAP.lines().collect();
            let text: Vec<&str> = lines.iter()
                .map(|(at, line)| line.as_deref().unwrap_or(known[at.index(known.len())]))
                .collect();
            let text = text.join("\n");
            let map = LinkMap::new(&text);
            for object in map.objects() {
                prop_assert!(text.contains(&format!("{object}.o")), "{}", object);
            }
            for section in [".data", ".text"] {
                if let Some((symbol, distance)) = map.nearest(section, address) {
                    let start = format!("{:016x}", address - distance);
                    prop_assert!(text.lines().any(|line| line.starts_with(&start) && line.ends_with(&symbol.name)), "{}", symbol.name);
                }
            }
        }
    }
}
