//! Rules about what runs after what.

use std::collections::HashSet;

use super::graph::{Graph, Next, fails_by_mistake, waits};
use super::{KnownCommand, Linter, asks, boots, fetches};
use crate::rule::{Rule, Severity};
use crate::syntax::{Operator, ScriptCommand, ScriptLine, Span};

/// Parts of labels that stand for what to do after a failure.
const FAILURES: [&str; 3] = ["fail", "error", "abort"];

/// What is around a command that can end the script.
#[derive(Clone, Copy)]
struct Surroundings<'n> {
    /// Whether the next line runs if it succeeds.
    falls: bool,
    /// Whether the next line has a label.
    labelled: bool,
    /// The name of the next command.
    next: Option<&'n str>,
    /// Whether the script handles the failure of such a command elsewhere.
    handled: bool,
}

impl Linter<'_, '_> {
    /// Runs the rules about the flow. Returns the bytes of the lines that never run.
    pub(super) fn flow(&mut self) -> Vec<Span> {
        let graph = Graph::of(self);
        let dead = self.unreachable(&graph);
        self.fall_through(&graph);
        self.loops(&graph);
        self.failures(&graph);
        self.either_way();
        dead
    }

    /// Drops what other rules find in lines that never run: iPXE does not get there. Often they are a web page that begins
    /// as a script.
    pub(super) fn forget(&mut self, dead: &[Span]) {
        if dead.is_empty() {
            return;
        }
        let lines = &self.script.lines;
        self.out.findings.retain(|finding| {
            let at = finding.span.start;
            let index = dead.partition_point(|span| span.start <= at);
            let inside = index.checked_sub(1).is_some_and(|index| at <= dead[index].end);
            let line = lines.partition_point(|line| line.span.start <= at);
            let whole = line.checked_sub(1).is_none_or(|line| lines[line].commands.is_empty());
            !inside || whole || matches!(finding.rule, Rule::UnreachableCode | Rule::NulByte | Rule::UnclosedTemplate)
        });
    }

    /// Finds commands that are to run after a message about a failure, and run without a failure as well.
    fn either_way(&mut self) {
        let script = self.script;
        for (index, line) in script.lines.iter().enumerate() {
            if line.conditional || line.commands.len() < 3 {
                continue;
            }
            let next = script.lines[index + 1..].iter().find(|line| !line.commands.is_empty() || line.label.is_some());
            let next = next.and_then(|line| line.label.as_ref());
            for commands in line.commands.windows(3) {
                let [first, message, last] = commands else { continue };
                let operators = [first, message].map(|command| command.operator.map(|(operator, _)| operator));
                let tells = message.name().is_some_and(|name| matches!(name, "echo" | "prompt" | "sleep"));
                if operators != [Some(Operator::Or), Some(Operator::And)]
                    || !tells
                    || matches!(first.name(), Some("exit" | "goto"))
                {
                    continue;
                }
                // It makes no difference to jump to the next line.
                let onward = next.is_some_and(|label| last.words.get(1).is_some_and(|word| word.text == label.text));
                if onward && last.name() == Some("goto") {
                    continue;
                }
                let (Some(name), Some(before)) = (last.words.first(), first.words.first()) else { continue };
                let message =
                    format!("`{}` also runs if `{}` succeeds: `&&` follows what ran last", name.text, before.text);
                let remedy = "write a label for what to do after a failure, and `|| goto` it";
                self.report(Rule::RunsEitherWay, last.span(), message, remedy);
            }
        }
    }

    /// Finds the first command after a line that never goes on. Returns the bytes of the lines that never run.
    fn unreachable(&mut self, graph: &Graph) -> Vec<Span> {
        let mut dead: Vec<Span> = Vec::new();
        let mut first = graph.first_from(0);
        while let Some(at) = first {
            let line = graph.nodes[at].line;
            first = graph.first_from(line + 1);
            let Some(next) = first.map(|next| graph.nodes[next].line) else { return dead };
            let between = &self.script.lines[line + 1..=next];
            let together = self.line(line).branch == self.line(next).branch
                && between.iter().chain([self.line(line)]).all(|line| !line.conditional && !line.unknown);
            if !together || between.iter().any(|line| line.label.is_some()) || graph.falls_through(at).0 {
                continue;
            }
            // The line can also end because a command does not exist, which is its own finding.
            if self.line(line).commands.iter().any(|command| {
                command.name().is_none_or(|name| crate::commands::CommandSpec::of(name).is_none())
                    && !command.words.is_empty()
            }) {
                continue;
            }
            let command = self.line(next).commands.iter().find(|command| !command.words.is_empty());
            if let Some(span) = command.map(ScriptCommand::span) {
                let number = self.line(line).number;
                let message = format!("never runs: line {number} always jumps or ends the script");
                // Many write one more `goto` or `exit` to be sure, or a web page behind the script.
                let idle = |it: &ScriptCommand<'_>| {
                    it.words.first().is_none_or(|word| word.text.starts_with('<'))
                        || matches!(it.name(), Some("goto" | "exit"))
                };
                let idle = self.line(next).commands.iter().all(idle);
                let severity = if idle { Severity::Note } else { Severity::Warning };
                self.report(Rule::UnreachableCode, span, message, "remove it, or add a label").severity = severity;
                if dead.last().is_none_or(|dead| dead.end < span.start) {
                    dead.push(self.until_label(next));
                }
            }
        }
        dead
    }

    /// Returns the bytes of the lines from the one with the index `first` to the next one that anything could jump to.
    fn until_label(&self, first: usize) -> Span {
        let lines = &self.script.lines;
        let branch = lines[first].branch;
        let ends =
            |line: &ScriptLine<'_>| line.label.is_some() || line.conditional || line.unknown || line.branch != branch;
        let last = lines[first..].iter().take_while(|line| !ends(line)).last().unwrap_or(&lines[first]);
        Span { start: lines[first].span.start, end: last.span.end }
    }

    /// Finds labels for failures, and entries of menus, that the line before them runs on into.
    fn fall_through(&mut self, graph: &Graph) {
        let script = self.script;
        let targets: HashSet<&str> = self.targets().collect();
        let items: HashSet<&str> = self.items().collect();
        for (index, line) in script.lines.iter().enumerate() {
            let Some(label) = line.label.as_ref().filter(|label| label.is_plain()) else { continue };
            let before = script.lines[..index].iter().rposition(|line| {
                !line.commands.is_empty() || line.label.is_some() || line.conditional || line.unknown
            });
            let Some(before) = before.filter(|before| {
                let line = &script.lines[*before];
                !line.commands.is_empty() && line.branch == script.lines[index].branch && !line.unknown
            }) else {
                continue;
            };
            let Some(first) = graph.first_from(before) else { continue };
            let (falls, boots) = graph.falls_through(first);
            if !falls || boots {
                continue;
            }
            let lower = label.text.to_ascii_lowercase();
            let handler = FAILURES.iter().any(|word| lower.contains(word)) && targets.contains(&&*label.text);
            let loads = script.lines[before].commands.iter().filter_map(|command| command.name()).any(fetches);
            let entry = items.contains(&&*label.text) && loads;
            let number = script.lines[before].number;
            let message = match (handler, entry) {
                (true, _) => format!("line {number} runs on into `:{}`, as if something had failed", label.text),
                (_, true) => {
                    format!(
                        "line {number} loads something and runs on into `:{}`, another entry of the menu",
                        label.text
                    )
                }
                _ => continue,
            };
            self.report(
                Rule::FallThrough,
                label.span,
                message,
                "end the part before the label with `boot`, `goto` or `exit`",
            );
        }
    }

    /// Finds loops that neither end nor wait.
    fn loops(&mut self, graph: &Graph) {
        let components = components(graph, |node| self.edges(graph, node));
        let mut owners = vec![usize::MAX; graph.nodes.len()];
        for (number, component) in components.iter().enumerate() {
            for node in component {
                owners[*node] = number;
            }
        }
        for component in components {
            if component.iter().any(|node| self.leaves(graph, *node, &owners)) {
                continue;
            }
            let lines: Vec<usize> = component.iter().map(|node| graph.nodes[*node].line).collect();
            let known = || component.iter().filter_map(|node| graph.nodes[*node].known).map(|at| &self.known[at]);
            let waits = known().any(waits) || known().count() < component.len() && self.has_unknown(graph, &component);
            let counts = known().any(|known| known.name == "inc");
            let template = lines.iter().any(|line| self.line(*line).conditional || self.line(*line).unknown)
                || lines.iter().any(|line| self.line(*line).branch != self.line(lines[0]).branch);
            if waits || counts || template {
                continue;
            }
            let first = *component.iter().min_by_key(|node| (graph.nodes[**node].line, **node)).unwrap_or(&0);
            let fetched = known().find(|known| boots(known.name) || fetches(known.name)).map(|known| known.name);
            let node = &graph.nodes[first];
            let span = self.line(node.line).commands[node.index].span();
            let last = lines.iter().max().map_or(0, |line| self.line(*line).number);
            let (from, what) = (self.line(node.line).number, fetched.unwrap_or_default());
            let message = match fetched {
                Some(_) => format!("lines {from} to {last} repeat for ever and without a pause if `{what}` fails"),
                None => format!("lines {from} to {last} repeat for ever and without a pause"),
            };
            self.report(Rule::EndlessLoop, span, message, "add `sleep 5`, or an end");
        }
    }

    /// Checks whether a node of `component` is a command that is not known.
    fn has_unknown(&self, graph: &Graph, component: &[usize]) -> bool {
        component.iter().any(|node| {
            let node = &graph.nodes[*node];
            node.known.is_none() && !self.line(node.line).commands[node.index].words.is_empty()
        })
    }

    /// Returns the nodes that follow `node`, except those after something was started.
    fn edges(&self, graph: &Graph, node: usize) -> [Option<usize>; 2] {
        let of = &graph.nodes[node];
        let success = of.success.filter(|_| !of.known.is_some_and(|known| boots(self.known[known].name)));
        [success, of.failure].map(|next| next.and_then(|next| graph.target(node, next)))
    }

    /// Checks whether a way leads from `node` out of its component, by the component of each node in `owners`, except by
    /// starting something.
    fn leaves(&self, graph: &Graph, node: usize, owners: &[usize]) -> bool {
        let of = &graph.nodes[node];
        let name = of.known.map(|known| self.known[known].name);
        let success = of.success.filter(|_| !name.is_some_and(boots));
        let failure = of.failure.filter(|_| !name.is_some_and(fails_by_mistake));
        [success, failure]
            .into_iter()
            .flatten()
            .any(|next| graph.target(node, next).is_none_or(|to| owners[to] != owners[node]))
    }

    /// Finds lines that end the script where it goes on to rely on them.
    fn failures(&mut self, graph: &Graph) {
        let known = std::mem::take(&mut self.known);
        let handled: HashSet<&str> = known.iter().filter(|it| it.handled).map(|it| it.name).collect();
        let mut labels = 0;
        let labels: Vec<usize> = (self.script.lines.iter())
            .map(|line| {
                labels += usize::from(line.label.is_some());
                labels
            })
            .collect();
        for node in &graph.nodes {
            let Some(of) = node.known.map(|at| &known[at]).filter(|_| node.failure == Some(Next::Dies)) else {
                continue;
            };
            if self.always_fails(of) || fails_by_mistake(of.name) || self.line(node.line).conditional {
                continue;
            }
            let after = graph.first_from(node.line + 1).map(|next| &graph.nodes[next]);
            let Some(after) = after else { continue };
            let labelled = labels[after.line] > labels[node.line];
            let next = after.known.map(|at| known[at].name);
            let handled = handled.contains(of.name);
            let falls = node.success == Some(Next::Line);
            self.failure(of, Surroundings { falls, labelled, next, handled });
        }
        self.known = known;
    }

    fn failure(&mut self, known: &KnownCommand<'_, '_>, around: Surroundings<'_>) {
        let Surroundings { falls, labelled, next, handled } = around;
        let name = known.name;
        let span = known.command.span();
        let condition = asks(name) || name == "prompt" || matches!(name, "pciscan" | "usbscan");
        if condition {
            let when = if name == "prompt" { "nobody presses the key" } else { "this is not so" };
            let message = format!("the script ends here if {when}: a line that ends with a failure ends the script");
            self.report(Rule::ConditionEndsScript, span, message, "write `||` at the end of the line");
        } else if boots(name) && !labelled && falls && known.arguments.option("replace").is_none() {
            let message = format!("if `{name}` fails, the script ends here, and the next line does not run");
            // A script that is loaded for its settings comes back, and what follows relies on it.
            let included = matches!(name, "chain" | "imgexec") && !next.is_none_or(recovers);
            let severity = if included || next == Some("exit") { Severity::Note } else { Severity::Warning };
            self.report(Rule::UnhandledFailure, span, message, "write `||` at the end of the line").severity = severity;
        } else if boots(name) || fetches(name) {
            if handled && !labelled && !known.followed {
                let message = format!("if `{name}` fails, the script ends here; elsewhere it handles that");
                self.report(Rule::UnhandledFailure, span, message, "write `||` and what to do then").severity =
                    Severity::Note;
            }
        } else if !matches!(name, "goto" | "show" | "imgargs" | "imgfree" | "imgtrust" | "poweroff" | "reboot") {
            let message = format!("if `{name}` fails, the script ends here");
            self.report(Rule::UnhandledFailure, span, message, "write `||` and what to do then").severity =
                Severity::Note;
        }
    }
}

/// Checks whether the command `name` is one that people write for the case that something has failed.
fn recovers(name: &str) -> bool {
    boots(name)
        || matches!(name, "echo" | "exit" | "goto" | "menu" | "poweroff" | "prompt" | "reboot" | "shell" | "sleep")
}

/// Returns the sets of nodes that can reach each other by `edges`, without single nodes that do not reach themselves.
fn components(graph: &Graph, edges: impl Fn(usize) -> [Option<usize>; 2]) -> Vec<Vec<usize>> {
    let count = graph.nodes.len();
    let (mut order, mut low) = (vec![usize::MAX; count], vec![0; count]);
    let (mut stack, mut on_stack, mut number) = (Vec::new(), vec![false; count], 0);
    let mut found = Vec::new();
    for root in 0..count {
        if order[root] != usize::MAX {
            continue;
        }
        // Tarjan's algorithm, with a stack of its own: scripts can be long.
        let mut calls = vec![(root, edges(root), 0)];
        (order[root], low[root], number) = (number, number, number + 1);
        stack.push(root);
        on_stack[root] = true;
        while let Some((node, targets, at)) = calls.last_mut() {
            let node = *node;
            if let Some(to) = targets.get(*at).copied() {
                *at += 1;
                let Some(to) = to else { continue };
                if order[to] == usize::MAX {
                    (order[to], low[to], number) = (number, number, number + 1);
                    stack.push(to);
                    on_stack[to] = true;
                    calls.push((to, edges(to), 0));
                } else if on_stack[to] {
                    low[node] = low[node].min(order[to]);
                }
                continue;
            }
            let own = targets.contains(&Some(node));
            calls.pop();
            if let Some((above, ..)) = calls.last() {
                low[*above] = low[*above].min(low[node]);
            }
            if low[node] == order[node] {
                let start = stack.iter().rposition(|it| *it == node).unwrap_or(0);
                let component = stack.split_off(start);
                for it in &component {
                    on_stack[*it] = false;
                }
                if component.len() > 1 || own {
                    found.push(component);
                }
            }
        }
    }
    found
}
