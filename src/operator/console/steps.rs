//! The instructions of an action, in the parts that a page shows apart.

/// The line about the command that marks it done: a page has a button.
const COMMAND: &str = "When finished: `cerby-reconciler";

const SCREENSHOT: &str = "Screenshot of the failure: ";

#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) before: Vec<String>,
    pub(super) numbered: Vec<String>,
    pub(super) after: Vec<String>,
    /// A link. The database stores only those to http and https.
    pub(super) screenshot: Option<String>,
}

impl Steps {
    pub(super) fn of(instructions: &str) -> Self {
        let mut steps = Self::default();
        for line in instructions.lines().filter(|line| !line.trim().is_empty()) {
            let is_step = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok());
            if line.starts_with(COMMAND) {
                continue;
            }
            match (line.strip_prefix(SCREENSHOT), is_step) {
                (Some(link), _) if link.starts_with("https://") || link.starts_with("http://") => {
                    steps.screenshot = Some(link.to_owned());
                }
                (_, Some((_, step))) => steps.numbered.push(step.to_owned()),
                _ if steps.numbered.is_empty() => steps.before.push(line.to_owned()),
                _ => steps.after.push(line.to_owned()),
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_fall_into_their_parts_and_the_command_is_left_out() {
        let text = "Remove jo.\nWhy: it failed.\nScreenshot of the failure: https://shots.example/1\n\n\
                    1. Log in.\n2. Remove jo.\n\nYou should then not see jo.\n\
                    When finished: `cerby-reconciler actions done 7 --note '…'`. Or dismiss it.";
        let steps = Steps::of(text);
        assert_eq!(steps.before, ["Remove jo.", "Why: it failed."]);
        assert_eq!(steps.numbered, ["Log in.", "Remove jo."]);
        assert_eq!(steps.after, ["You should then not see jo."]);
        assert_eq!(steps.screenshot.as_deref(), Some("https://shots.example/1"));
        let odd = Steps::of("Screenshot of the failure: javascript:alert(1)");
        assert_eq!(odd.screenshot, None);
    }
}
