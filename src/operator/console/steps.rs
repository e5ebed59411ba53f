//! The instructions of an action, in the parts that a page shows apart.

use crate::manual_action::card::ActionFacts;
use crate::manual_action::instructions::StepPicture;

/// The line about the command that marks it done: a page has a button.
const COMMAND: &str = "When finished: `cerby-reconciler";

const SCREENSHOT: &str = "Screenshot of the failure: ";

/// The line with the link to the app's admin page, which a page shows as a button.
const ADMIN_PAGE: &str = "Admin page: ";

#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) before: Vec<String>,
    pub(super) numbered: Vec<Step>,
    pub(super) after: Vec<String>,
    /// A link. The database stores only those to http and https.
    pub(super) screenshot: Option<String>,
    pub(super) admin_page: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) text: String,
    pub(super) pictures: Vec<StepPicture>,
}

impl Steps {
    pub(super) fn of(facts: &ActionFacts) -> Self {
        let mut steps = Self::parted(&facts.instructions);
        let link = facts.admin_url.as_ref().filter(|link| link.starts_with("https://"));
        steps.admin_page = link.cloned();
        for (step, number) in steps.numbered.iter_mut().zip(1..) {
            let own = facts.pictures.iter().filter(|picture| picture.step == number);
            step.pictures = own.cloned().collect();
        }
        steps
    }

    fn parted(instructions: &str) -> Self {
        let mut steps = Self::default();
        for line in instructions.lines().filter(|line| !line.trim().is_empty()) {
            let is_step = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok());
            if line.starts_with(COMMAND) || line.starts_with(ADMIN_PAGE) {
                continue;
            }
            match (line.strip_prefix(SCREENSHOT), is_step) {
                (Some(link), _) if link.starts_with("https://") || link.starts_with("http://") => {
                    steps.screenshot = Some(link.to_owned());
                }
                (_, Some((_, step))) => {
                    steps.numbered.push(Step { text: step.to_owned(), ..Step::default() });
                }
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
                    Admin page: https://app.example/admin\n1. Log in.\n2. Remove jo.\n\nYou should then not see jo.\n\
                    When finished: `cerby-reconciler actions done 7 --note '…'`. Or dismiss it.";
        let steps = Steps::parted(text);
        assert_eq!(steps.before, ["Remove jo.", "Why: it failed."]);
        let numbered: Vec<_> = steps.numbered.iter().map(|step| &*step.text).collect();
        assert_eq!(numbered, ["Log in.", "Remove jo."]);
        assert_eq!(steps.after, ["You should then not see jo."]);
        assert_eq!(steps.screenshot.as_deref(), Some("https://shots.example/1"));
        let odd = Steps::parted("Screenshot of the failure: javascript:alert(1)");
        assert_eq!(odd.screenshot, None);
    }
}
