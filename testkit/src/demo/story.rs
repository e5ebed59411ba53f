//! The six stories of the demo: what happens to one member, step by step.
//!
//! A story is the same whatever the order of concurrent work: it has no times, no ids and no counts of attempts. In its
//! sentences, `{who}` and `{app}` stand for the member and the app.

use crate::simulator::{Fate, Operation};

/// How many people disappear from an app at once in the story of the held report.
pub(super) const HELD_REMOVALS: usize = 6;

#[derive(Debug)]
pub(super) struct Story {
    pub(super) title: &'static str,
    /// What the automation is asked to do. `None` if nobody asked for anything.
    pub(super) operation: Option<Operation>,
    fate: StoryFate,
    pub(super) steps: &'static [Step],
}

#[derive(Debug, Clone, Copy)]
enum StoryFate {
    FailsTwice,
    /// Fails with this code until a person fixes the cause.
    Fails(&'static str),
    Works,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) mark: Mark,
    /// What has to happen before, as the end of the sentence "waits ...".
    pub(super) waits: &'static str,
    /// What happened, when it has.
    pub(super) says: &'static str,
    /// What the colleague does so that it happens.
    pub(super) act: Option<Act>,
}

/// How one sees that a step has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// By the next line of the trail with this name.
    Trail(&'static str),
    /// By the act itself, of which Cerby knows nothing.
    Act,
}

/// What the colleague does in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Claim,
    /// Makes the change of the action and marks it done.
    Do,
    /// Marks the action done and makes no change.
    Lie,
    /// Removes several people in the app, and asks for a sync.
    RemoveMany,
    Approve,
    /// Invites the removed member in the app.
    InviteAgain,
}

impl Story {
    /// What the attempts of automation come to.
    pub(super) fn fate(&self) -> Fate {
        match self.fate {
            StoryFate::FailsTwice => Fate::Transient { times: 2, code: "LoginTimeout".to_owned() },
            StoryFate::Fails(code) => Fate::Permanent(code.to_owned()),
            StoryFate::Works => Fate::Succeed,
        }
    }
}

const fn seen(name: &'static str, waits: &'static str, says: &'static str) -> Step {
    Step { mark: Mark::Trail(name), waits, says, act: None }
}

const fn done(act: Act, name: &'static str, waits: &'static str, says: &'static str) -> Step {
    Step { mark: Mark::Trail(name), waits, says, act: Some(act) }
}

const fn unseen(act: Act, waits: &'static str, says: &'static str) -> Step {
    Step { mark: Mark::Act, waits, says, act: Some(act) }
}

const ARRIVAL: &str = "for the failed task to arrive";
const CLAIM: &str = "for somebody who takes the action";
const CLAIMED: &str = "Robin, a colleague, takes the action.";
const PROOF: &str = "for a new snapshot of {app}";

pub(super) static STORIES: [Story; 6] = [RETRY, ESCALATION, LIE, HELD, LOGIN, RETURN];

const RETRY: Story = Story {
    title: "a retry",
    operation: Some(Operation::ChangeRole),
    fate: StoryFate::FailsTwice,
    steps: &[
        seen("task.ordered", ARRIVAL, "Cerby failed to change the role of {who} in {app}."),
        seen(
            "task.attempt_failed",
            "for the first attempt",
            "The daemon tried again. It failed, too: the login took too long.",
        ),
        seen(
            "task.attempt_failed",
            "until the next attempt is due",
            "It failed once more. The wait before the next attempt doubles.",
        ),
        seen(
            "task.succeeded",
            "until the next attempt is due",
            "Then it worked, and {app} shows the new role. Nobody had to do anything.",
        ),
    ],
};

const ESCALATION: Story = Story {
    title: "an escalation",
    operation: Some(Operation::Invite),
    fate: StoryFate::Fails("NotEnoughSeats"),
    steps: &[
        seen("task.ordered", ARRIVAL, "Cerby failed to invite {who} to {app}."),
        seen(
            "action.opened",
            "for the first attempt",
            "The daemon tried again: no seat is left. Only a person can help, so a manual action opens.",
        ),
        done(Act::Claim, "action.claimed", CLAIM, CLAIMED),
        done(
            Act::Do,
            "action.done",
            "for Robin",
            "Robin buys a seat, invites {who}, and marks the action done.",
        ),
        seen("action.verified", PROOF, "The snapshot shows {who}: the action is verified."),
    ],
};

const LIE: Story = Story {
    title: "the lie",
    operation: Some(Operation::Remove),
    fate: StoryFate::Fails("UnderpermissionedAccount"),
    steps: &[
        seen("task.ordered", ARRIVAL, "Cerby failed to remove {who} from {app}."),
        seen(
            "action.opened",
            "for the first attempt",
            "The daemon tried again: Cerby's account may not remove people. A manual action opens.",
        ),
        done(Act::Claim, "action.claimed", CLAIM, CLAIMED),
        done(
            Act::Lie,
            "action.done",
            "for Robin",
            "Robin marks the action done, but did not remove {who}.",
        ),
        seen(
            "action.contradicted",
            PROOF,
            "The snapshot still shows {who}: contradicted. The action is open again.",
        ),
        done(Act::Claim, "action.claimed", CLAIM, "Robin takes the action again."),
        done(Act::Do, "action.done", "for Robin", "Robin removes {who} and marks the action done."),
        seen("action.verified", PROOF, "The snapshot does not show {who}: verified."),
    ],
};

const HELD: Story = Story {
    title: "a held report",
    operation: None,
    fate: StoryFate::Works,
    steps: &[
        seen(
            "integration.introduced",
            "for the first task of {app}",
            "The daemon gets to know {app}.",
        ),
        unseen(
            Act::RemoveMany,
            "for somebody who removes people in {app}",
            "Somebody removes {who} and five others in {app}. Nobody had asked for that.",
        ),
        seen(
            "sync.held",
            PROOF,
            "The report would remove all six from Cerby. That is too many at once: it is held.",
        ),
        done(
            Act::Approve,
            "sync.approved",
            "for a person's decision",
            "Robin asks the owner of {app}, who had a reason, and approves the report.",
        ),
        seen("sync.applying", "for the report to be applied", "Exactly this report is applied."),
    ],
};

const LOGIN: Story = Story {
    title: "a login refused",
    operation: Some(Operation::Invite),
    fate: StoryFate::Fails("BadCredentials"),
    steps: &[
        seen("task.ordered", ARRIVAL, "Cerby failed to invite {who} to {app}."),
        seen(
            "integration.login_rejected",
            "for the first attempt",
            "{app} refuses the login that Cerby has stored. All tasks of {app} are on hold.",
        ),
        done(Act::Claim, "action.claimed", CLAIM, CLAIMED),
        done(
            Act::Do,
            "action.done",
            "for Robin",
            "Robin stores the new password and marks the action done.",
        ),
        seen(
            "integration.recovered",
            PROOF,
            "{app} can be read again, so its tasks go on. They lost no attempt.",
        ),
        seen("task.succeeded", "for the next attempt", "{who} is invited, and {app} shows it."),
    ],
};

const RETURN: Story = Story {
    title: "somebody comes back",
    operation: Some(Operation::Remove),
    fate: StoryFate::Works,
    steps: &[
        seen("task.ordered", ARRIVAL, "Cerby failed to remove {who} from {app}."),
        seen(
            "task.succeeded",
            "for the first attempt",
            "The daemon tried again: {who} is gone, and {app} shows it. It keeps watching.",
        ),
        unseen(
            Act::InviteAgain,
            "for somebody who invites {who} again",
            "Somebody invites {who} in {app}, past Cerby.",
        ),
        seen(
            "task.member_returned",
            "for the next check of {app}",
            "The check shows {who} again: a manual action opens.",
        ),
        done(Act::Claim, "action.claimed", CLAIM, CLAIMED),
        done(Act::Do, "action.done", "for Robin", "Robin removes {who} and marks the action done."),
        seen("action.verified", PROOF, "The snapshot does not show {who}: verified."),
    ],
};
