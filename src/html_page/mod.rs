//! Look of the HTML pages: a head and a stylesheet in the colours and fonts of the book, and the environment in which
//! templates are filled in. It knows the content of no page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, escape_formatter};

use crate::digest::Sha256Digest;
use crate::printable::is_harmful;

/// Returns an environment that escapes every value, for templates that include `head.html`.
///
/// # Panics
///
/// If one of the shared templates is invalid, which a test rules out.
#[must_use]
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(|out, state, value| match value.as_str().filter(|_| !value.is_safe()) {
        Some(text) if text.contains(is_invisible) => escape_formatter(out, state, &visible(text).into()),
        _ => escape_formatter(out, state, value),
    });
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).build().expect("the syntax is the default one"));
    for (name, text) in [("head.html", include_str!("head.html")), ("style.css", include_str!("style.css"))] {
        environment.add_template(name, text).expect("the template is filled in by a test");
    }
    environment
}

/// Checks whether a character would hide in a text, or change the direction of others.
fn is_invisible(c: char) -> bool {
    is_harmful(c) && !['\n', '\r', '\t'].contains(&c)
}

fn visible(text: &str) -> String {
    let escaped = |c: char| if is_invisible(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Returns the source expression that allows exactly `script` in a page's Content-Security-Policy.
#[must_use]
pub fn script_source(script: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256Digest::of(script.as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_in_a_page() {
        let page = |text: &str| environment().render_str("{{ text }}", minijinja::context!(text)).unwrap();
        assert_eq!(page("a\u{202e}b\u{1b}[31m<\n"), "a\\u{202e}b\\u{1b}[31m&lt;\n");
        assert_eq!(page("é\t1"), "é\t1");
    }

    #[test]
    fn a_page_allows_its_own_script_and_nothing_else() {
        assert_eq!(script_source("alert(1)"), "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='");
        let head = |facts| environment().render_str("{% include \"head.html\" %}", facts).unwrap();
        let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
        assert!(head(minijinja::context!()).contains(&format!("content=\"{policy}\"")));
        let script = head(minijinja::context!(script_source => "'sha256-x'"));
        assert!(script.contains(&format!("{policy}; script-src &#x27;sha256-x&#x27;\"")), "{script}");
    }
}
