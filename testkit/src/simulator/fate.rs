//! The outcome of an attempt of the automation.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::chance::Draw;
use super::faults::FaultPlan;
use super::world::Place;

/// What the automation is asked to do to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make somebody a member.
    Invite,
    /// End a membership, or revoke a pending invitation.
    Remove,
    /// Replace a member's entitlements.
    ChangeRole,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Remove => "remove",
            Self::ChangeRole => "change_role",
        }
    }
}

/// The published failure codes: the same one each time, until a person fixes the cause.
pub const PERMANENT_CODES: [&str; 17] = [
    "NotEnoughSeats",
    "SubscriptionDeactivated",
    "UnderpermissionedAccount",
    "InvalidBusinessId",
    "BadCredentials",
    "EmptyPasswordError",
    "AccountVaultError",
    "EmailNotProvidedError",
    "InvalidEmail",
    "PhoneNotProvidedError",
    "PhoneNotManagedError",
    "GeneralMFANotManagedError",
    "MFANotManagedError",
    "MFAAlreadyEnable",
    "OtherMFAMethodEnabledError",
    "VerificationMethodsNotManagedError",
    "SecureDeviceNotFoundInStorage",
];

/// Those of them which say that the app rejects the login that the backend has stored.
pub const LOGIN_CODES: [&str; 4] =
    ["BadCredentials", "EmptyPasswordError", "AccountVaultError", "SecureDeviceNotFoundInStorage"];

/// Failures that pass by themselves.
pub const TRANSIENT_CODES: [&str; 3] = ["LoginTimeout", "PageChanged", "CaptchaShown"];

/// The outcomes of all attempts of one operation on one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Succeed,
    /// Each attempt fails with this code and changes nothing.
    Permanent(String),
    /// This many attempts fail with this code and change nothing; the next ones work.
    Transient {
        times: u32,
        code: String,
    },
    /// The first attempt is reported as failed with this code ALTHOUGH the change was made; the next ones work.
    FailedThoughDone(String),
    /// The first attempt is reported as finished ALTHOUGH nothing was changed; the next ones work.
    FinishedThoughNotDone,
    /// The job of each attempt stays `running` for ever and changes nothing.
    NeverEnds,
}

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Works,
    Fails { code: String, lasting: bool, done: bool },
    Pretends,
    NeverEnds,
}

impl Outcome {
    /// Whether the change is made, if the app permits it.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Works | Self::Fails { done: true, .. })
    }
}

impl Fate {
    /// The outcome of the attempt with this number, counted from 0.
    pub(super) fn outcome(&self, attempt: u32) -> Outcome {
        match self {
            Self::Permanent(code) => fails(code, true, false),
            Self::Transient { times, code } if attempt < *times => fails(code, false, false),
            Self::FailedThoughDone(code) if attempt == 0 => fails(code, false, true),
            Self::FinishedThoughNotDone if attempt == 0 => Outcome::Pretends,
            Self::NeverEnds => Outcome::NeverEnds,
            _ => Outcome::Works,
        }
    }

    /// The fate that the plan and the seed give to these names.
    pub(super) fn dealt(plan: &FaultPlan, seed: u64, names: &[&str]) -> Self {
        let draw = Draw::new(seed, names);
        let transient = || draw.next().pick(&TRANSIENT_CODES).to_owned();
        let shares = [
            plan.permanent,
            plan.transient,
            plan.failed_though_done,
            plan.finished_though_not_done,
            plan.never_ends,
        ];
        match share(draw.unit(), &shares) {
            Some(0) => Self::Permanent(draw.next().pick(&PERMANENT_CODES).to_owned()),
            Some(1) => {
                let times = draw.next().next().within(&plan.transient_times);
                Self::Transient {
                    times: u32::try_from(times).unwrap_or(u32::MAX),
                    code: transient(),
                }
            }
            Some(2) => Self::FailedThoughDone(transient()),
            Some(3) => Self::FinishedThoughNotDone,
            Some(4) => Self::NeverEnds,
            _ => Self::Succeed,
        }
    }
}

fn fails(code: &str, lasting: bool, done: bool) -> Outcome {
    Outcome::Fails { code: code.to_owned(), lasting, done }
}

/// The index of the share that the point falls into. The shares are laid end to end from 0.
pub(super) fn share(point: f64, shares: &[f64]) -> Option<usize> {
    let mut end = 0.0;
    shares.iter().position(|share| {
        end += share;
        point < end
    })
}

/// Whose attempts are counted together: a place, a member (empty for the whole place) and a step.
type Subject = (Place, String, &'static str);

/// Decides the outcome of every attempt.
pub(super) struct Fates {
    seed: u64,
    plan: FaultPlan,
    set: HashMap<Subject, Fate>,
    attempts: HashMap<Subject, u32>,
    mended_logins: HashSet<Place>,
}

impl Fates {
    pub(super) fn new(seed: u64, plan: FaultPlan) -> Self {
        Self {
            seed,
            plan,
            set: HashMap::new(),
            attempts: HashMap::new(),
            mended_logins: HashSet::new(),
        }
    }

    /// The count of attempts starts again here.
    pub(super) fn set(&mut self, place: Place, member: &str, step: &'static str, fate: Fate) {
        let subject = (place, member.to_owned(), step);
        self.attempts.remove(&subject);
        self.set.insert(subject, fate);
    }

    /// From now on no attempt here fails because of the login.
    pub(super) fn mend_login(&mut self, place: Place) {
        self.mended_logins.insert(place);
    }

    fn fails_for_a_mended_login(&self, place: &Place, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Fails { code, .. } if LOGIN_CODES.contains(&code.as_str()))
            && self.mended_logins.contains(place)
    }

    /// The outcome of the next attempt, and a draw of its own.
    pub(super) fn next(
        &mut self,
        place: &Place,
        member: &str,
        step: &'static str,
    ) -> (Outcome, Draw) {
        let subject = (place.clone(), member.to_owned(), step);
        let attempts = self.attempts.entry(subject.clone()).or_default();
        let attempt = *attempts;
        *attempts += 1;
        let number = attempt.to_string();
        let names = [step, place.workspace.as_str(), place.integration.as_str(), member];
        let each = [names.as_slice(), &[number.as_str()]].concat();
        let outcome = match self.set.get(&subject) {
            Some(fate) => fate.outcome(attempt),
            None if member.is_empty() => self.sync_fate(&each).outcome(0),
            None => Fate::dealt(&self.plan, self.seed, &names).outcome(attempt),
        };
        let draw = Draw::new(self.seed, &each).next();
        match self.fails_for_a_mended_login(place, &outcome) {
            true => (Outcome::Works, draw),
            false => (outcome, draw),
        }
    }

    fn sync_fate(&self, names: &[&str]) -> Fate {
        let plan = FaultPlan { transient: self.plan.sync_fails, ..FaultPlan::none() };
        Fate::dealt(&plan, self.seed, names)
    }
}
