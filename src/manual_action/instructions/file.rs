//! A file of the folder of instructions: what it is for, its steps, and every line that is wrong.
//!
//! ```text
//! application: asana_tenant
//! operation: remove
//! admin: https://app.example/admin/{{ workspace }}/members
//!
//! 1. Log in to {{ app }} with your admin account.
//! 2. Open the admin console, then Members.
//! picture: members.png, The list of members
//! 3. Remove {{ who }}.
//! ```

use std::collections::BTreeMap;

use crate::catalogue;
use crate::membership::{ActionOperation, IntegrationKind};
use crate::text::printable;

const KEYS: [&str; 5] = ["application", "operation", "kind", "title", "admin"];

const MOST_STEPS: usize = 50;

const LONGEST_LINE: usize = 1000;

/// A line by its number, and what is wrong with it.
pub(super) type Fault = (usize, String);

/// A text with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

/// A picture of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shot {
    pub(super) line: usize,
    /// The number of the step that it belongs to.
    pub(super) step: usize,
    pub(super) file: String,
    pub(super) alt: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) application: String,
    pub(super) operation: ActionOperation,
    /// `None` for both kinds.
    pub(super) kind: Option<IntegrationKind>,
    pub(super) title: Option<Line>,
    pub(super) admin: Option<Line>,
    pub(super) steps: Vec<Line>,
    pub(super) shots: Vec<Shot>,
}

/// What the lines say, before it is checked.
#[derive(Default)]
struct Lines {
    keys: BTreeMap<&'static str, Line>,
    steps: Vec<Line>,
    shots: Vec<Shot>,
    faults: Vec<Fault>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<File, Vec<Fault>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let number = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        vec![(number, "is not UTF-8: save the file as UTF-8".to_owned())]
    })?;
    let mut lines = Lines::default();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        if let Err(why) = lines.take(line.trim(), number) {
            lines.faults.push((number, why));
        }
    }
    lines.file()
}

impl Lines {
    fn take(&mut self, line: &str, number: usize) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        if line.chars().count() > LONGEST_LINE {
            return Err(format!("is longer than {LONGEST_LINE} characters: divide it into steps"));
        }
        if printable(line) != line {
            return Err("has a character that is not seen: type the line again".to_owned());
        }
        if let Some((step, text)) = step(line) {
            return self.take_step(step, text, number);
        }
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        if key == "picture" {
            return self.take_picture(value, number);
        }
        if !self.steps.is_empty() {
            let next = self.steps.len() + 1;
            return Err(format!(
                "is no step and no picture: write a step on one line, “{next}. …”, or “picture: FILE, what it shows”"
            ));
        }
        let known = KEYS.into_iter().find(|one| *one == key);
        let key = known.ok_or_else(|| {
            format!("is no key and no step: before the first step there are {}", KEYS.join(", "))
        })?;
        if value.is_empty() {
            return Err(format!("{key} is empty: write “{key}: …”"));
        }
        match self.keys.insert(key, Line { number, text: value.to_owned() }) {
            None => Ok(()),
            Some(first) => {
                Err(format!("{key} is there already, at line {}: keep one of them", first.number))
            }
        }
    }

    fn take_step(&mut self, step: usize, text: &str, number: usize) -> Result<(), String> {
        self.steps.push(Line { number, text: text.to_owned() });
        let expected = self.steps.len();
        if expected > MOST_STEPS {
            return Err(format!("is one more than {MOST_STEPS} steps: divide the work"));
        }
        match step == expected && !text.is_empty() {
            true => Ok(()),
            false if text.is_empty() => Err(format!("step {step} says nothing")),
            false => Err(format!(
                "step {step} is where step {expected} belongs: number the steps 1, 2, 3, without a gap"
            )),
        }
    }

    fn take_picture(&mut self, value: &str, number: usize) -> Result<(), String> {
        let step = self.steps.len();
        if step == 0 {
            return Err("the picture belongs to no step: put it below its step".to_owned());
        }
        let parts = value.split_once(',').map(|(file, alt)| (file.trim(), alt.trim()));
        let parts = parts.filter(|(file, alt)| !file.is_empty() && !alt.is_empty());
        let (file, alt) = parts.ok_or("write “picture: FILE, what it shows”")?;
        let (file, alt) = (file.to_owned(), alt.to_owned());
        self.shots.push(Shot { line: number, step, file, alt });
        Ok(())
    }

    fn file(mut self) -> Result<File, Vec<Fault>> {
        let application = self.needed("application", |name| match catalogue::find(name) {
            Some(app) => Ok(app.application.clone()),
            None => {
                Err(format!("there is no application {name:?} in the catalogue of this program"))
            }
        });
        let operation = self.needed("operation", |word| {
            let words = ActionOperation::WORDS.join(", ");
            word.parse::<ActionOperation>()
                .map_err(|_| format!("there is no operation {word:?}: it is one of {words}"))
        });
        let kind = self.keys.contains_key("kind").then(|| {
            self.needed("kind", |word| {
                word.parse::<IntegrationKind>()
                    .map_err(|_| format!("there is no kind {word:?}: it is app or business_hub"))
            })
        });
        if self.steps.is_empty() {
            self.faults.push((1, "has no steps: write the first one as “1. …”".to_owned()));
        }
        match (application, operation) {
            (Some(application), Some(operation)) if self.faults.is_empty() => Ok(File {
                application,
                operation,
                kind: kind.flatten(),
                title: self.keys.remove("title"),
                admin: self.keys.remove("admin"),
                steps: self.steps,
                shots: self.shots,
            }),
            _ => {
                self.faults.sort();
                Err(self.faults)
            }
        }
    }

    /// The value of a key that has to be there, and be known.
    fn needed<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (number, value) = match self.keys.get(key) {
            Some(line) => (line.number, read(&line.text)),
            None => (1, Err(format!("{key} is missing: write “{key}: …” before the steps"))),
        };
        value.map_err(|why| self.faults.push((number, why))).ok()
    }
}

/// The number of a step, and its text.
fn step(line: &str) -> Option<(usize, &str)> {
    let digits = line.find(|c: char| !c.is_ascii_digit())?;
    let text = line[digits..].strip_prefix('.')?;
    Some((line[..digits].parse().ok()?, text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "application: asana_tenant\noperation: remove\nadmin: https://app.example/{{ workspace }}\n\n\
                        1. Log in.\n2. Open Members.\npicture: members.png, The list, with all members\n\n3. Remove {{ who }}.\n";

    fn faults(text: &str) -> Vec<Fault> {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_file_says_what_it_is_for_its_link_its_steps_and_their_pictures() {
        let file = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(file.application, "asana_tenant");
        assert_eq!((file.operation, file.kind), (ActionOperation::Remove, None));
        assert_eq!(file.admin.unwrap().number, 3);
        let steps: Vec<_> = file.steps.iter().map(|step| (step.number, &*step.text)).collect();
        assert_eq!(steps, [(5, "Log in."), (6, "Open Members."), (9, "Remove {{ who }}.")]);
        let shot = &file.shots[0];
        assert_eq!((shot.line, shot.step, &*shot.file), (7, 2, "members.png"));
        assert_eq!(shot.alt, "The list, with all members");
        let windows = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
        assert_eq!(parse(windows.as_bytes()).unwrap().steps, file.steps);
        let of_hubs =
            GOOD.replace("admin: https://app.example/{{ workspace }}", "kind: business_hub");
        assert_eq!(parse(of_hubs.as_bytes()).unwrap().kind, Some(IntegrationKind::BusinessHub));
    }

    #[test]
    fn each_wrong_line_is_told_by_its_number_with_what_to_do() {
        for (from, to, line, why) in [
            ("asana_tenant", "asana", 1, "no application \"asana\""),
            ("application: asana_tenant\n", "\n", 1, "application is missing"),
            ("remove", "delete", 2, "it is one of invite, remove"),
            ("admin:", "link:", 3, "is no key and no step"),
            ("admin: https://app.example/{{ workspace }}", "admin:", 3, "admin is empty"),
            ("admin:", "operation: remove\nadmin:", 3, "there already, at line 2"),
            ("admin: https", "kind: hub\nadmin: https", 3, "it is app or business_hub"),
            ("2. Open", "3. Open", 6, "step 3 is where step 2 belongs"),
            ("2. Open Members.", "2.", 6, "says nothing"),
            ("2. Open", "Then open", 6, "is no step and no picture"),
            (
                "picture: members.png, The list, with all members",
                "picture: members.png",
                7,
                "what it shows",
            ),
            ("\n\n1. Log", "\npicture: a.png, x\n1. Log", 4, "belongs to no step"),
            ("Log in.", "Log\u{202e} in.", 5, "not seen"),
        ] {
            let wrong = GOOD.replacen(from, to, 1);
            let faults = faults(&wrong);
            let is_told = |(at, told): &Fault| *at == line && told.contains(why);
            assert!(faults.iter().any(is_told), "{why}: {faults:?}");
        }
        let long = GOOD.replacen("Log in.", &"x".repeat(LONGEST_LINE), 1);
        assert_eq!(faults(&long)[0].0, 5);
    }

    #[test]
    fn all_wrong_lines_are_told_at_once() {
        let wrong = GOOD.replace("asana_tenant", "x").replace("remove\n", "y\n").replace("2. ", "");
        let lines: Vec<_> = faults(&wrong).iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 6, 9], "the number of the last step is wrong then, too");
        assert_eq!(faults("").len(), 3, "no application, no operation, no steps");
    }

    #[test]
    fn what_is_not_utf_8_is_told_with_its_line() {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[GOOD.find("Open").unwrap()] = 0xff;
        assert_eq!(parse(&bytes).unwrap_err()[0].0, 6);
    }
}
