//! What property tests share: their configuration, and text that harms.

use proptest::prelude::*;
use proptest::test_runner::Config;

/// Runs one in `share` of the usual number of cases, which is 256, or what `PROPTEST_CASES` says. No file remembers a
/// failure: its smallest input becomes a plain test.
pub fn one_in(share: u32) -> Config {
    let usual = Config::default();
    Config { cases: usual.cases.div_ceil(share), failure_persistence: None, ..usual }
}

/// Text with characters that steer a terminal, break or turn a line, or are not seen, among others. The strings that
/// proptest makes by itself have no control characters.
pub fn text() -> impl Strategy<Value = String> {
    const HARMFUL: &str = "\n\r\t\0\u{1b}\u{7f}\u{9b}\u{ad}\u{200b}\u{2028}\u{202e}\u{2069}\u{feff}\u{3164}\u{e0041}";
    let code = |range: std::ops::Range<u32>| range.prop_map(|code| char::from_u32(code).unwrap_or('x'));
    let c = prop_oneof![
        4 => code(0x20..0x7f),
        2 => any::<char>(),
        1 => code(0..0x3000),
        1 => prop::sample::select(HARMFUL.chars().collect::<Vec<_>>()),
    ];
    prop::collection::vec(c, 0..16).prop_map(|chars| chars.into_iter().collect())
}
