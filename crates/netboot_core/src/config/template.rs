//! Script templates: compiled once, rendered for each site.
//!
//! An inserted value must be one word, unless the template uses `{{ name | line }}`; `values` has the rules.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use netboot_script::syntax::keep_line_ends;

use super::toml::Located;
use super::values::{self, Inserted};
use crate::base::diagnostic::{Diagnostic, Location, shortened};
use crate::printable::{listed_names, printable};
use crate::stamp::slot::SlotSize;

/// The functions that templates can call.
const FUNCTIONS: [&str; 3] = ["dict", "namespace", "range"];

/// The name of the built-in variable that contains the site's name.
pub const SITE: &str = "site";

/// Its value in the root of the tree.
const ROOT: &str = "default";

/// A script template.
#[derive(Debug)]
pub struct Template {
    /// The file, as named in `sites.toml`.
    pub source: Utf8PathBuf,
    /// The path of the file as diagnostics show it.
    pub file: Utf8PathBuf,
    environment: Environment<'static>,
    /// The variables that the template uses, even if only in a condition.
    uses: HashSet<String>,
}

/// The variables of a site. Sites share common values.
#[derive(Debug, Clone, Default)]
pub struct Vars {
    /// Variables that do not come from a row.
    pub common: Common,
    /// Names of the variables that come from a row.
    pub columns: Arc<[String]>,
    /// The row's values for these names; `None` falls back to `common`.
    pub row: Arc<[Option<Box<str>>]>,
}

/// The variables of tables, in order of precedence: each table's own, then those of its base. Tables of many sites
/// share them.
#[derive(Debug, Clone, Default)]
pub struct Common(Vec<Arc<BTreeMap<String, Located<String>>>>);

impl Common {
    /// Creates the variables of one table.
    #[must_use]
    pub fn of(vars: BTreeMap<String, Located<String>>) -> Self {
        Self(if vars.is_empty() { Vec::new() } else { vec![Arc::new(vars)] })
    }

    /// Adds the variables of `base`, which these override.
    #[must_use]
    pub fn over(mut self, base: &Self) -> Self {
        self.0.extend(base.0.iter().cloned());
        self
    }

    /// Returns the variable `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Located<String>> {
        self.0.iter().find_map(|vars| vars.get(name))
    }

    /// Checks whether there are no variables.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the variables of all tables, including overridden ones.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &Located<String>)> {
        self.0.iter().flat_map(|vars| vars.iter()).map(|(name, at)| (name.as_str(), at))
    }

    /// Iterates over all variables, from lowest to highest precedence.
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().rev().flat_map(|vars| vars.iter());
        all.map(|(name, at)| (name.as_str(), at.value.as_str()))
    }
}

/// A rendered template.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The text with the marks of `values` in variables; empty if there are none.
    pub marked: String,
    /// The inserted texts, in order.
    pub inserted: Vec<Inserted>,
}

/// A flaw of a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptFlaw {
    /// The line, counted from 1.
    pub line: usize,
    /// The message: what was found and what was wanted.
    pub message: String,
    /// The suggested remedy.
    pub remedy: String,
    /// Whether the flaw is in the site's settings rather than in the script.
    pub of_site: bool,
}

impl ScriptFlaw {
    /// Returns the flaw with shortened texts, to be kept for many sites.
    pub(super) fn shortened(self) -> Self {
        Self { message: shortened(self.message), remedy: shortened(self.remedy), ..self }
    }
}

impl Template {
    /// Compiles `content`, the content of the file `source`; diagnostics call it `file`.
    ///
    /// # Errors
    ///
    /// Returns the first error in the template.
    pub fn new(source: &Utf8Path, file: &Utf8Path, content: &[u8]) -> Result<Self, Diagnostic> {
        let at = |line| Location { file: file.to_owned(), line, key: String::new() };
        if content.starts_with(b"\xef\xbb\xbf") {
            return Err(at(1).finding(
                "found a byte order mark, wanted `#!ipxe` as the first bytes",
                "save the file as UTF-8 without BOM",
            ));
        }
        let text = std::str::from_utf8(content).map_err(|error| {
            at(super::toml::line_at(content, error.valid_up_to())).finding("is not UTF-8", "save the file as UTF-8")
        })?;
        if let Some((index, line)) = text.lines().enumerate().find(|(_, line)| line.len() > MAX_LINE) {
            let message = format!("is a line of {} bytes, wanted {MAX_LINE} at most", line.len());
            return Err(at(index + 1).finding(message, "shorten it, or chain a second script"));
        }
        if let Some((offset, length)) = long_tag(text) {
            let message = format!("begins a tag of {length} bytes, wanted {MAX_TAG} at most");
            let line = super::toml::line_at(content, offset);
            return Err(at(line).finding(message, "make several of it with `{% set %}`"));
        }
        if let Some(offset) = memchr::memmem::find_iter(content, "elif").nth(MAX_BRANCHES) {
            let message = format!("is one `elif` more than {MAX_BRANCHES} in a template");
            let line = super::toml::line_at(content, offset);
            return Err(at(line).finding(message, "make variables of the inventory of them"));
        }
        let text = keep_line_ends(text).map_err(|offset| {
            let message = "begins a block of several lines behind a command: without the block, the command would go on where the block ends";
            at(super::toml::line_at(content, offset)).finding(message, "put what follows the block on a line of its own")
        })?;
        let (environment, uses) = compile_apart(&text).map_err(|error| {
            let ScriptFlaw { line, message, remedy, .. } = flaw(&error, &BTreeMap::new());
            at(line).finding(message, remedy)
        })?;
        Ok(Self { source: source.to_owned(), file: file.to_owned(), environment, uses })
    }

    /// Renders the text for `site`, or for the root of the tree, with `vars`.
    ///
    /// # Errors
    ///
    /// Returns the flaw, and as much of the text as can be rendered.
    pub fn render(&self, site: Option<&str>, vars: &Vars) -> Result<Rendered, (Box<ScriptFlaw>, Rendered)> {
        let scope = Value::from_object(Scope { site: site.unwrap_or(ROOT).to_owned(), vars: vars.clone() });
        expand(&self.environment, &scope).map_err(|error| {
            let mut lenient = self.environment.clone();
            lenient.set_undefined_behavior(UndefinedBehavior::Lenient);
            (Box::new(flaw(&error, &vars.all())), expand(&lenient, &scope).unwrap_or_default())
        })
    }

    /// Checks whether the template uses the variable `name`.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.uses.contains(name)
    }

    /// Checks whether the template itself contains `text`.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.environment.get_template(NAME).is_ok_and(|template| template.source().contains(text))
    }
}

impl Vars {
    /// Returns the variable `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut row = self.columns.iter().zip(&*self.row);
        let own = row.find(|(column, _)| *column == name).and_then(|(_, value)| value.as_deref());
        own.or_else(|| self.common.get(name).map(|at| at.value.as_str()))
    }

    /// Checks whether the variable `name` comes from a row.
    #[must_use]
    pub fn is_of_row(&self, name: &str) -> bool {
        self.columns.iter().zip(&*self.row).any(|(column, value)| column == name && value.is_some())
    }

    /// Returns all variables by name; those of a row take precedence.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&str, &str> {
        let mut all: BTreeMap<&str, &str> = self.common.iter().collect();
        let row = self.columns.iter().zip(&*self.row);
        all.extend(row.filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?))));
        all
    }
}

impl<'a> FromIterator<&'a (&'a str, &'a str)> for Vars {
    /// Creates variables from pairs of names and values, as if they came from a table.
    fn from_iter<I: IntoIterator<Item = &'a (&'a str, &'a str)>>(pairs: I) -> Self {
        let at = |(line, (name, value)): (usize, &(&str, &str))| {
            let location = Location { file: "sites.toml".into(), line: line + 1, key: format!("default.vars.{name}") };
            ((*name).to_owned(), Located { value: (*value).to_owned(), location })
        };
        Self::from(Common::of(pairs.into_iter().enumerate().map(at).collect()))
    }
}

impl From<Common> for Vars {
    fn from(common: Common) -> Self {
        Self { common, ..Self::default() }
    }
}

/// The scope in which a template looks up variables: only those that it uses are converted to values.
#[derive(Debug)]
struct Scope {
    site: String,
    vars: Vars,
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let value = if name == SITE { Some(self.site.as_str()) } else { self.vars.get(name) };
        value.map(Value::from)
    }
}

/// Checks whether the variable `name` is an address according to its name.
#[must_use]
pub fn is_address(name: &str) -> bool {
    name == "url" || name.ends_with("_url")
}

/// Checks the name of a variable.
///
/// # Errors
///
/// Returns a message and a remedy.
pub fn check_name(name: &str) -> Result<(), (String, &'static str)> {
    if name == SITE {
        return Err(("is the site's name and cannot be set".into(), "choose another name for the variable"));
    }
    // The functions of templates would stand for variables that a site does not have.
    let is_variable = || {
        !FUNCTIONS.contains(&name) && {
            let environment = Environment::empty();
            let used = environment.compile_expression(name).map(|expression| expression.undeclared_variables(false));
            used.is_ok_and(|used| used.len() == 1 && used.contains(name))
        }
    };
    if name.len() <= MAX_NAME && is_variable() {
        return Ok(());
    }
    Err((
        format!(
            "found the variable name `{}`, wanted letters, digits and `_`, not a digit first and not a word of templates",
            printable(name)
        ),
        "choose another name for the variable",
    ))
}

/// Checks the value of a variable.
///
/// # Errors
///
/// Returns a message with the length of the value, and a remedy.
pub fn check_value(value: &str) -> Result<(), (String, &'static str)> {
    let most = SlotSize::MAX.bytes();
    if value.len() <= most {
        return Ok(());
    }
    let message = format!("found a value of {} bytes, wanted {most} at most", value.len());
    Err((message, "shorten it: no script has room for it"))
}

/// Maximum length of a line in bytes: `minijinja` counts columns up to 65,535, and panics beyond if arithmetic is
/// checked. No script that fits a slot has such a line.
const MAX_LINE: usize = u16::MAX as usize - 1;

/// Maximum length of a name in bytes; each byte takes stack space if the name is an expression.
const MAX_NAME: usize = 255;

/// Maximum length of a tag, `{{ … }}` or `{% … %}`, in bytes. Compiling an expression takes time quadratic in its
/// length.
const MAX_TAG: usize = 4 << 10;

/// Maximum number of `elif` in a template. The parser of templates takes stack space for each.
const MAX_BRANCHES: usize = 1000;

/// Returns the offset and the length of the first tag longer than [`MAX_TAG`] bytes. Text that looks like a tag in
/// comments and in raw text counts, too.
fn long_tag(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'{', &bytes[at..]) {
        let begin = at + found;
        at = begin + 2;
        let close = match bytes.get(begin + 1) {
            Some(b'{') => b"}}",
            Some(b'%') => b"%}",
            _ => {
                at = begin + 1;
                continue;
            }
        };
        let mut quote = None;
        while let Some(&byte) = bytes.get(at) {
            match quote {
                None if bytes[at..].starts_with(close) => break,
                None if byte == b'"' || byte == b'\'' => quote = Some(byte),
                Some(_) if byte == b'\\' => at += 1,
                Some(open) if byte == open => quote = None,
                _ => {}
            }
            at += 1;
        }
        let end = (at + close.len()).min(bytes.len());
        if end - begin > MAX_TAG {
            return Some((begin, end - begin));
        }
        at = end;
    }
    None
}

/// Runs [`compile`] on a stack that is large enough for every expression that fits a tag.
fn compile_apart(text: &str) -> Result<(Environment<'static>, HashSet<String>), minijinja::Error> {
    const STACK: usize = 16 << 20;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            let environment = compile(text)?;
            let uses = environment.get_template(NAME)?.undeclared_variables(false);
            Ok((environment, uses))
        });
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(environment)) => environment,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string())),
        }
    })
}

fn compile(text: &str) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(STEPS));
    environment
        .set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("ipxe".into()));
    environment.set_formatter(|out, _, value| {
        if !matches!(value.kind(), ValueKind::String | ValueKind::Number | ValueKind::Bool | ValueKind::Undefined) {
            let message = "found something else than a text, a number or a truth value";
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
        }
        let text = value.to_string();
        // Text marked as safe was noted when it was marked: by `line`, or in a macro or block of the template.
        if !value.is_safe() {
            note(&text, false);
        }
        Ok(out.write_str(&inserted(&text, value.is_safe()))?)
    });
    environment.add_filter("line", |text: String| {
        note(&text, true);
        Value::from_safe_string(inserted(&text, false).into_owned())
    });
    // This filter would turn data into code, and this function would be a variable that nobody has set.
    environment.remove_filter("safe");
    environment.remove_global("debug");
    environment.add_template_owned(NAME, text.to_owned())?;
    Ok(environment)
}

/// Maximum number of steps of a template: enough for any script that fits its slot, but not for an endless loop.
const STEPS: u64 = 100_000;

/// The name of the template in its environment; the file's own name could enable HTML escaping.
const NAME: &str = "script";

thread_local! {
    /// The texts inserted so far by the template that this thread renders, each with its position.
    static INSERTED: RefCell<HashMap<Inserted, usize>> = RefCell::default();
    /// Whether this thread renders with marks.
    static MARKING: Cell<bool> = const { Cell::new(false) };
}

/// Returns `text` in the form to insert into the script; if `is_done`, it already has its marks.
fn inserted(text: &str, is_done: bool) -> Cow<'_, str> {
    if MARKING.get() && !is_done { values::marked(text).into() } else { text.into() }
}

/// Records that `text` is inserted into the script, as one word or, if the template allows it, as several.
fn note(text: &str, several: bool) {
    INSERTED.with_borrow_mut(|inserted| {
        let location = inserted.len();
        if !text.is_empty() {
            inserted.entry(Inserted { text: text.to_owned(), several }).or_insert(location);
        }
    });
}

fn expand(environment: &Environment<'_>, scope: &Value) -> Result<Rendered, minijinja::Error> {
    INSERTED.take();
    let template = environment.get_template(NAME)?;
    let text = template.render(scope)?;
    let mut inserted: Vec<(Inserted, usize)> = INSERTED.take().into_iter().collect();
    inserted.sort_unstable_by_key(|(_, location)| *location);
    let inserted: Vec<Inserted> = inserted.into_iter().map(|(inserted, _)| inserted).collect();
    let mut marked = String::new();
    if inserted.iter().any(|it| values::has_marks(&it.text)) {
        MARKING.set(true);
        let rendered = template.render(scope);
        MARKING.set(false);
        INSERTED.take();
        marked = rendered?;
    }
    Ok(Rendered { text, marked, inserted })
}

fn flaw(error: &minijinja::Error, vars: &BTreeMap<&str, &str>) -> ScriptFlaw {
    let line = error.line().unwrap_or(1);
    if error.kind() == ErrorKind::OutOfFuel {
        let message = format!("the template takes more than {STEPS} steps up to here");
        return ScriptFlaw { line, message, remedy: "make its loops shorter".into(), of_site: false };
    }
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let of_site = error.kind() == ErrorKind::UndefinedError;
    let remedy = if of_site {
        let known: Vec<&str> = [SITE].iter().chain(vars.keys()).copied().collect();
        format!("set it under `vars`, or in a column of the inventory; known here: {}", listed_names(&known))
    } else {
        "fix the template: `{{ name }}` is a variable, `{% if name is defined %}` a condition".into()
    };
    ScriptFlaw { line, message: format!("{}{detail}", error.kind()), remedy, of_site }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::diagnostic::{Diagnostics, told};

    fn render(text: &str, vars: &[(&str, &str)]) -> Result<String, String> {
        let file = Utf8Path::new("s.ipxe");
        let template =
            Template::new(file, file, text.as_bytes()).map_err(|finding| told(&Diagnostics(vec![finding])))?;
        let rendered = template.render(Some("a"), &Vars::from_iter(vars));
        rendered.map(|it| it.text).map_err(|(flaw, rest)| format!("{flaw:?}\n{}", rest.text))
    }

    #[test]
    fn ipxe_settings_pass_through_and_template_variables_are_filled_in() {
        let vars = [("boot_url", "http://192.0.2.1/")];
        assert_eq!(
            render("#!ipxe\nchain {{ boot_url }}${net0/mac:hexhyp} {{ site }}\n", &vars).unwrap(),
            "#!ipxe\nchain http://192.0.2.1/${net0/mac:hexhyp} a\n"
        );
    }

    #[test]
    fn each_command_stays_on_its_line() {
        let text = "#!ipxe\nkernel k quiet {% if fast is defined %}fast{% endif %}\ninitrd i {# it #}\nboot\n\
                    {% if fast is defined %}\nshell\n{% endif %}\nexit\n";
        assert_eq!(render(text, &[]).unwrap(), "#!ipxe\nkernel k quiet \ninitrd i \nboot\nexit\n");
        assert_eq!(
            render(text, &[("fast", "1")]).unwrap(),
            "#!ipxe\nkernel k quiet fast\ninitrd i \nboot\nshell\nexit\n"
        );
    }

    #[test]
    fn blocks_that_begin_behind_a_command_leave_the_next_one_on_its_line() {
        for (text, without, with) in [
            (
                "kernel k {% if a is defined %}quiet\n{% endif %}\ninitrd i\n",
                "kernel k \ninitrd i\n",
                "kernel k quiet\n\ninitrd i\n",
            ),
            (
                "set x 1 {% if a is defined %}\nset y 2\n{% endif %}\nshell\n",
                "set x 1 \nshell\n",
                "set x 1 \nset y 2\n\nshell\n",
            ),
            (
                "kernel k \\\n{% if a is defined %}\n  {{ a }}\n{% endif %}\nboot\n",
                "kernel k \\\n\nboot\n",
                "kernel k \\\n  1\n\nboot\n",
            ),
            (
                "kernel k \\\n{% if a is defined %}\n  b \\\n{% endif %}\n  c\n",
                "kernel k \\\n  c\n",
                "kernel k \\\n  b \\\n  c\n",
            ),
            (
                "kernel k\n{%- if a is defined %}\nboot\n{%- endif %}\nexit\n",
                "kernel k\nexit\n",
                "kernel k\nboot\nexit\n",
            ),
            (
                "set b c{% for n in a | default('') %}{{ n }}\n{% endfor %}\ndhcp\n",
                "set b c\ndhcp\n",
                "set b c1\n\ndhcp\n",
            ),
            (
                "{% filter trim %}\nkernel k {{ a | default('b') }}\n{% endfilter %}\ninitrd i\n",
                "kernel k b\ninitrd i\n",
                "kernel k 1\ninitrd i\n",
            ),
            (
                "{% if a is defined %}echo a{% else %}\necho b\n{% endif %}\nshell\n",
                "echo b\n\nshell\n",
                "echo a\nshell\n",
            ),
        ] {
            assert_eq!(render(text, &[]).unwrap(), without, "{text}");
            assert_eq!(render(text, &[("a", "1")]).unwrap(), with, "{text}");
        }
    }

    #[test]
    fn what_follows_a_block_behind_a_command_is_on_a_line_of_its_own() {
        let error = render("#!ipxe\nset x 1 {% if a is defined %}\nset y 2\n{% endif %}shell\n", &[]).unwrap_err();
        assert!(error.starts_with("s.ipxe:2: begins a block of several lines behind a command: "), "{error}");
        // What is no template is told by the engine.
        for text in ["#!ipxe\n{% if a %\nshell\n{% endif %}\n", "{% set s = '{%' %", "{{ '{%' }"] {
            assert!(render(text, &[]).unwrap_err().contains("syntax error"), "{text}");
        }
        assert_eq!(render("{% set s = '{%' %}\n{{ s }}\n", &[]).unwrap(), "{%\n");
    }

    #[test]
    fn nothing_but_variables_and_texts_gets_into_a_script() {
        let error = render("#!ipxe\necho {{ debug }}\n", &[]).unwrap_err();
        assert!(error.contains("`debug` is undefined"), "{error}");
        assert_eq!(render("{% if debug is defined %}x{% endif %}", &[]).unwrap(), "");
        assert_eq!(render("{% if debug is defined %}{{ debug }}{% endif %}", &[("debug", "a")]).unwrap(), "a");
        for value in ["range", "dict", "namespace", "[1, 2]", "{'a': 1}", "none", "range(3)"] {
            let error = render(&format!("#!ipxe\necho {{{{ {value} }}}}\n"), &[]).unwrap_err();
            assert!(error.contains("line: 2, message: \"invalid operation: found something else"), "{value}: {error}");
        }
        assert_eq!(render("{% for a in range(3) %}{{ a }}{% endfor %}{{ 1 > 0 }}", &[]).unwrap(), "012True");
    }

    #[test]
    fn branches_end() {
        let branches = |count: usize| {
            let branches: String = (0..count).map(|n| format!("{{% elif a == '{n}' %}}\nx{n}\n")).collect();
            render(&format!("{{% if a == 'b' %}}\nb\n{branches}{{% endif %}}\n"), &[("a", "999")])
        };
        assert_eq!(branches(1000).unwrap(), "x999\n");
        let error = branches(10_000).unwrap_err();
        assert!(error.starts_with("s.ipxe:2003: is one `elif` more than 1000 in a template"), "{error}");
        for nested in
            ["{% if a %}", "{% for b in a %}", "{% filter trim %}", "{% with %}", "{% set b %}", "{{ (", "{{ ["]
        {
            assert!(render(&nested.repeat(10_000), &[]).is_err(), "{nested}");
        }
    }

    #[test]
    fn a_loop_without_end_is_named_with_the_limit() {
        let long = "#!ipxe\n{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}\n";
        let error = render(long, &[]).unwrap_err();
        assert!(
            error.contains("line: 2, message: \"the template takes more than 100000 steps up to here\""),
            "{error}"
        );
    }

    #[test]
    fn an_undefined_variable_is_named_and_the_rest_is_rendered() {
        let error = render("#!ipxe\nchain {{ boot_ulr }}x\n", &[("boot_url", "")]).unwrap_err();
        assert!(error.contains("line: 2, message: \"undefined value: `boot_ulr` is undefined\""), "{error}");
        assert!(error.contains("known here: `site`, `boot_url`"), "{error}");
        assert!(error.ends_with("\n#!ipxe\nchain x\n"), "{error}");
    }

    #[test]
    fn what_is_put_into_a_script_is_noted_wherever_it_goes_through() {
        let text = "{% macro m(x) %}chain {{ x }}{% endmacro %}{% set s %}<{{ a }}>{% endset %}{{ s }} {{ m(b) }}\n\
                    echo {{ c | line }}{{ c | upper }}{{ 'd' ~ a }}{% if b %}{{ a }}{% endif %}";
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, text.as_bytes()).unwrap();
        let rendered = template.render(None, &Vars::from_iter(&[("a", "1"), ("b", "2"), ("c", "x y")])).unwrap();
        assert_eq!(rendered.text, "<1> chain 2\necho x yX Yd11");
        let told: Vec<_> = rendered.inserted.iter().map(|it| (it.text.as_str(), it.several)).collect();
        assert_eq!(told, [("1", false), ("2", false), ("x y", true), ("X Y", false), ("d1", false)]);
        assert!(render("{{ a | safe }}", &[("a", "1")]).unwrap_err().contains("unknown filter"));
    }

    #[test]
    fn dashes_of_variables_are_marked_wherever_they_go_through() {
        let text = "{% macro m(x) %}{{ x }}{% endmacro %}{% set s %}{{ a }}{{ b }}{% endset %}{{ s }} {{ m(a) }}-\n\
                    --{{ b }} {{ c | line }}{% if a == '-' %} {{ a ~ b }}{% endif %}";
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, text.as_bytes()).unwrap();
        let rendered = |vars| template.render(None, &Vars::from_iter(vars)).unwrap();
        let dashes = rendered(&[("a", "-"), ("b", "x"), ("c", "y -z")]);
        assert_eq!(dashes.text, "-x --\n--x y -z -x");
        assert_eq!(dashes.marked.replace('\u{fdd0}', "@"), "@-x @--\n--x y @-z @-x");
        assert_eq!(rendered(&[("a", "a"), ("b", "x-y"), ("c", "z")]).marked, "");
    }

    #[test]
    fn blanks_at_ends_and_colons_of_variables_are_marked() {
        let file = Utf8Path::new("s.ipxe");
        let template = Template::new(file, file, b"{{ a }}{{ b }}{% set s %}{{ a }}{% endset %}{{ s }}").unwrap();
        let marked = |a, b| template.render(None, &Vars::from_iter(&[("a", a), ("b", b)])).unwrap().marked;
        assert_eq!(marked("q ", ":y"), "q \u{fdd2}\u{fdd0}:yq \u{fdd2}");
        assert_eq!(marked(" q", "y:"), "\u{fdd1} qy:\u{fdd1} q");
        assert_eq!(marked("q q", "y"), "");
    }

    #[test]
    fn what_is_no_template_is_told_by_line() {
        let error = render("#!ipxe\nchain {{ boot_url }\n", &[]).unwrap_err();
        assert!(
            error.starts_with("s.ipxe:2: syntax error: ") && error.contains("\n  hint: fix the template: "),
            "{error}"
        );
        assert_eq!(
            render("\u{feff}#!ipxe\n", &[]).unwrap_err(),
            "s.ipxe:1: found a byte order mark, wanted `#!ipxe` as the first bytes\n  hint: save the file as UTF-8 without BOM"
        );
        let file = Utf8Path::new("s.ipxe");
        let finding = Template::new(file, file, b"#!ipxe\necho \xff\n").unwrap_err();
        assert_eq!(told(&Diagnostics(vec![finding])), "s.ipxe:2: is not UTF-8\n  hint: save the file as UTF-8");
    }

    #[test]
    fn more_than_the_template_language_counts_is_refused() {
        let found = |text: String| Template::new("s".into(), "s".into(), text.as_bytes()).unwrap_err().message;
        assert_eq!(found("#\n".to_owned() + &"x".repeat(70_000)), "is a line of 70000 bytes, wanted 65534 at most");
        assert!(check_name(&"x".repeat(70_000)).is_err());
        // Neither extreme panics.
        let error = render(&("\n".repeat(70_000) + &"x".repeat(65_533) + "{%"), &[]).unwrap_err();
        assert!(error.starts_with("s.ipxe:70001: "), "{}", &error[..200]);
        let error = render(&("\n".repeat(70_000) + &"{%".repeat(2_000)), &[]).unwrap_err();
        assert!(error.starts_with("s.ipxe:65535: "), "{}", &error[..200]);
    }

    #[test]
    fn expressions_of_any_length_do_not_end_the_process() {
        // Once compiled, each of these recurses on the stack.
        for (begin, part, end) in
            [("a", "+a", ""), ("", "not ", "a"), ("", "-", "a"), ("a", "|upper", ""), ("a", "[0]", "")]
        {
            let name = |count: usize| format!("{begin}{}{end}", part.repeat(count));
            assert!(check_name(&name(100_000)).is_err());
            let _ = render(&format!("#!ipxe\necho {{{{ {} }}}}\n", name(4_000 / part.len())), &[("a", "1")]);
            for text in ["", "{# it's #}", "{{ '}}' }}", "{% raw %}{{ '{% endraw %}", "{% raw %}{#{% endraw %}"] {
                let error =
                    render(&format!("#!ipxe\n{text}{{{{ {} }}}}\n", name(50_000 / part.len())), &[]).unwrap_err();
                assert!(
                    error.starts_with("s.ipxe:2: begins a tag of ") && error.contains(" 4096 at most\n"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_row_goes_before_what_is_common_and_an_empty_cell_says_nothing() {
        let vars = Vars {
            columns: ["b", "c", "a"].map(str::to_owned).into(),
            row: [Some("3".into()), Some("4".into()), None].into(),
            ..Vars::from_iter(&[("a", "1"), ("b", "2")])
        };
        assert_eq!(["a", "b", "c", "d"].map(|name| vars.get(name)), [Some("1"), Some("3"), Some("4"), None]);
        assert_eq!(vars.all(), [("a", "1"), ("b", "3"), ("c", "4")].into());
    }

    #[test]
    fn names_of_variables_are_those_that_templates_know() {
        for name in ["a", "boot_url", "_x1", "Name"] {
            check_name(name).unwrap();
        }
        for name in ["range", "namespace", "dict", "", " a", "boot-url", "1a", "a.b", "true", "not", "ä", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert_eq!(check_name("site").unwrap_err().0, "is the site's name and cannot be set");
    }

    /// A piece of a template.
    #[derive(Debug, Clone)]
    enum Piece {
        /// A word that names its line.
        Word,
        Blank,
        LineBreak,
        Comment,
        Loop(Vec<Self>),
        /// A condition that holds or not, with what is there otherwise.
        If(bool, Vec<Self>, Option<Vec<Self>>),
    }

    impl Piece {
        fn any() -> impl Strategy<Value = Self> {
            let leaf = prop_oneof![
                3 => Just(Self::Word),
                1 => Just(Self::Blank),
                3 => Just(Self::LineBreak),
                1 => Just(Self::Comment),
            ];
            leaf.prop_recursive(3, 30, 5, |inner| {
                let some = prop::collection::vec(inner, 0..5);
                prop_oneof![
                    some.clone().prop_map(Self::Loop),
                    (any::<bool>(), some.clone(), prop::option::of(some)).prop_map(|(a, b, c)| Self::If(a, b, c)),
                ]
            })
        }

        fn write(&self, out: &mut String) {
            let all = |pieces: &[Self], out: &mut String| pieces.iter().for_each(|piece| piece.write(out));
            match self {
                Self::Word => *out += &format!("w{};", out.matches('\n').count()),
                Self::Blank => out.push(' '),
                Self::LineBreak => out.push('\n'),
                Self::Comment => *out += "{# c #}",
                Self::Loop(body) => {
                    *out += "{% for a in range(2) %}";
                    all(body, out);
                    *out += "{% endfor %}";
                }
                Self::If(holds, body, otherwise) => {
                    *out += if *holds { "{% if 1 %}" } else { "{% if 0 %}" };
                    all(body, out);
                    if let Some(otherwise) = otherwise {
                        *out += "{% else %}";
                        all(otherwise, out);
                    }
                    *out += "{% endif %}";
                }
            }
        }
    }

    proptest! {
        #[test]
        fn removed_line_breaks_make_no_other_lines(pieces in prop::collection::vec(Piece::any(), 0..12)) {
            let mut text = String::new();
            for piece in &pieces {
                piece.write(&mut text);
            }
            let rendered = match render(&text, &[]) {
                Ok(rendered) => rendered,
                Err(error) => {
                    prop_assert!(error.contains("begins a block of several lines behind"), "{text}: {error}");
                    return Ok(());
                }
            };
            // The same by Jinja's defaults, which remove no line breaks, and leave lines with blanks.
            let plain = minijinja::render!(&text);
            let lines = |text: &str| -> Vec<String> {
                text.lines().map(|line| line.trim().replace(' ', "")).filter(|line| !line.is_empty()).collect()
            };
            prop_assert_eq!(lines(&rendered), lines(&plain), "{:?}", text);
        }
    }
}
