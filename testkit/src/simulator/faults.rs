//! Faults: the plan by probability, and single faults by script.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::Method;
use serde::Serialize;

use super::chance::Draw;
use super::clock::http_date;
use super::fate::share;

/// How often faults occur: probabilities from 0 to 1, all 0 by default. Those of the jobs add up to at most 1, and so
/// do those of HTTP.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    /// Fails with the same published code each time.
    pub permanent: f64,
    /// Fails with a passing code a few times.
    pub transient: f64,
    /// How many times a passing failure occurs, at least and at most.
    pub transient_times: RangeInclusive<u64>,
    /// Reported as failed although the change was made.
    pub failed_though_done: f64,
    /// Reported as finished although nothing was changed.
    pub finished_though_not_done: f64,
    pub never_ends: f64,
    /// A sync, check or apply that fails with a passing code; counted separately for each of them.
    pub sync_fails: f64,
    pub delay: f64,
    /// The delay in milliseconds.
    pub delay_ms: RangeInclusive<u64>,
    pub server_error: f64,
    /// 502 or 503 without effect.
    pub unavailable: f64,
    /// 429 with any [`RetryAfter`], without effect.
    pub rate_limited: f64,
    /// The connection is reset without effect.
    pub reset: f64,
    /// The effect takes place and the connection closes without a reply.
    pub lost_reply: f64,
    /// The effect takes place and no reply comes until the client gives up.
    pub stall: f64,
    /// 200 with an HTML page, without effect.
    pub html: f64,
    /// 200 with an errors body, without effect.
    pub ok_with_errors: f64,
    /// The effect takes place and the reply comes too slowly for any client.
    pub trickle: f64,
    /// The effect takes place and the reply is 500 or 502.
    pub broken_after_effect: f64,
    /// 200 with a body that does not end, without effect.
    pub huge: f64,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            permanent: 0.0,
            transient: 0.0,
            transient_times: 1..=3,
            failed_though_done: 0.0,
            finished_though_not_done: 0.0,
            never_ends: 0.0,
            sync_fails: 0.0,
            delay: 0.0,
            delay_ms: 50..=500,
            server_error: 0.0,
            unavailable: 0.0,
            rate_limited: 0.0,
            reset: 0.0,
            lost_reply: 0.0,
            stall: 0.0,
            html: 0.0,
            ok_with_errors: 0.0,
            trickle: 0.0,
            broken_after_effect: 0.0,
            huge: 0.0,
        }
    }
}

impl FaultPlan {
    pub fn none() -> Self {
        Self::default()
    }

    /// The fault of the nth request of this method and path.
    pub(super) fn http_fault(
        &self,
        seed: u64,
        method: &Method,
        path: &str,
        nth: u64,
    ) -> Option<HttpFault> {
        let draw = Draw::new(seed, &["http", method.as_str(), path, &nth.to_string()]);
        let shares = [
            self.delay,
            self.server_error,
            self.unavailable,
            self.rate_limited,
            self.reset,
            self.lost_reply,
            self.stall,
            self.html,
            self.ok_with_errors,
            self.trickle,
            self.broken_after_effect,
            self.huge,
        ];
        let late = || Duration::from_millis(draw.next().within(&self.delay_ms));
        Some(match share(draw.unit(), &shares)? {
            0 => HttpFault::Delay(late()),
            1 => HttpFault::Status(500),
            2 => HttpFault::Status(draw.next().pick(&[502, 503])),
            3 => HttpFault::RateLimited(draw.next().pick(&RetryAfter::ALL)),
            4 => HttpFault::Reset,
            5 => HttpFault::LostReply,
            6 => HttpFault::Stall,
            7 => HttpFault::Html,
            8 => HttpFault::OkWithErrors,
            9 => HttpFault::Trickle,
            10 => HttpFault::BrokenAfterEffect(draw.next().pick(&[500, 502])),
            _ => HttpFault::Huge,
        })
    }
}

/// The fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The right answer, later.
    Delay(Duration),
    /// An errors body with this status; without effect.
    Status(u16),
    RateLimited(RetryAfter),
    /// The client sees a reset connection; without effect.
    Reset,
    /// The effect takes place, then the connection closes without a reply.
    LostReply,
    /// The effect takes place, then no reply comes until the client gives up.
    Stall,
    /// The effect takes place, then the right answer comes so slowly that the client gives up.
    Trickle,
    /// The effect takes place, then an errors body with this status.
    BrokenAfterEffect(u16),
    /// The request waits before its effect until [`Held::release`]. If its client goes away, nothing more happens to
    /// it.
    ///
    /// [`Held::release`]: super::Held::release
    Hold,
    /// The effect takes place, then the reply waits in the same way.
    HoldReply,
    /// 200 with HTML; without effect.
    Html,
    /// 200 with a body that does not end; without effect.
    Huge,
    /// 200 with an errors body; without effect.
    OkWithErrors,
    /// A page of members whose `next` leads to itself; other calls are answered normally.
    RepeatedPage,
}

impl HttpFault {
    /// The name under which it is counted; for a status, its number.
    pub(super) fn name(self) -> String {
        match self {
            Self::Delay(_) => "delay".to_owned(),
            Self::Status(status) => status.to_string(),
            Self::RateLimited(_) => "429".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::LostReply => "lost_reply".to_owned(),
            Self::Stall => "stall".to_owned(),
            Self::Trickle => "trickle".to_owned(),
            Self::BrokenAfterEffect(status) => format!("{status}_after_effect"),
            Self::Hold => "hold".to_owned(),
            Self::HoldReply => "hold_reply".to_owned(),
            Self::Huge => "huge".to_owned(),
            Self::Html => "html".to_owned(),
            Self::OkWithErrors => "ok_with_errors".to_owned(),
            Self::RepeatedPage => "repeated_page".to_owned(),
        }
    }
}

/// What a 429 says about when to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Absent,
    /// In this many seconds.
    Seconds(u32),
    /// At a date that is this many seconds ahead.
    Date(u32),
    /// At a date of yesterday.
    Past,
    /// At a date ten years ahead.
    TenYears,
}

impl RetryAfter {
    const ALL: [Self; 5] =
        [Self::Absent, Self::Seconds(2), Self::Date(2), Self::Past, Self::TenYears];

    /// The value of the header, if there is one.
    pub(super) fn header(self, now: chrono::DateTime<chrono::Utc>) -> Option<String> {
        let date = |ahead: i64| Some(http_date(now + chrono::TimeDelta::seconds(ahead)));
        const DAY: i64 = 24 * 60 * 60;
        match self {
            Self::Absent => None,
            Self::Seconds(seconds) => Some(seconds.to_string()),
            Self::Date(seconds) => date(i64::from(seconds)),
            Self::Past => date(-DAY),
            Self::TenYears => date(3653 * DAY),
        }
    }
}

/// The operations of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    GetIntegration,
    ListMembers,
    Invite,
    GetMember,
    GetPerson,
    ChangeRole,
    Remove,
    GetJob,
    StartSync,
    StartCheck,
    GetReport,
    ApplyReport,
}

impl Call {
    /// The operation that a request asks for.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (_, ["api", "v1", rest @ ..]) = parts.split_first()? else {
            return None;
        };
        Some(match (method.as_str(), rest) {
            ("GET", ["integrations", _]) => Self::GetIntegration,
            ("GET", ["integrations", _, "users" | "user"]) => Self::ListMembers,
            ("POST", ["integrations", _, "users"]) => Self::Invite,
            ("GET", ["integrations", _, "users", _]) => Self::GetMember,
            ("PATCH", ["integrations", _, "users", _]) => Self::ChangeRole,
            ("DELETE", ["integrations", _, "users", _]) => Self::Remove,
            ("GET", ["users", _]) => Self::GetPerson,
            ("GET", ["jobs", _]) => Self::GetJob,
            ("POST", ["integrations", _, "sync"]) => Self::StartSync,
            ("POST", ["integrations", _, "update-checks"]) => Self::StartCheck,
            ("GET", ["integrations", _, "update-report"]) => Self::GetReport,
            ("POST", ["integrations", _, "update-report", _, "apply"]) => Self::ApplyReport,
            _ => return None,
        })
    }
}

/// A scripted fault of one request; it overrides the plan for that request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    pub call: Call,
    /// Which request of that operation since the start, counted from 0.
    pub nth: u64,
    pub fault: HttpFault,
}

/// Decides the fault of each request.
pub(super) struct Troubles {
    seed: u64,
    pub(super) plan: FaultPlan,
    injections: Vec<Injection>,
    by_path: HashMap<(Method, String), u64>,
    /// Whether every request is answered with 503.
    pub(super) outage: bool,
}

impl Troubles {
    pub(super) fn new(seed: u64, plan: FaultPlan) -> Self {
        Self { seed, plan, injections: Vec::new(), by_path: HashMap::new(), outage: false }
    }

    pub(super) fn inject(&mut self, injection: Injection) {
        self.injections.push(injection);
    }

    /// The fault of the nth request of this call.
    pub(super) fn next(
        &mut self,
        call: Call,
        nth: u64,
        method: &Method,
        path: &str,
    ) -> Option<HttpFault> {
        let count = self.by_path.entry((method.clone(), path.to_owned())).or_default();
        let nth_of_path = *count;
        *count += 1;
        if self.outage {
            return Some(HttpFault::Status(503));
        }
        let scripted = self.injections.iter().find(|each| each.call == call && each.nth == nth);
        scripted
            .map(|injection| injection.fault)
            .or_else(|| self.plan.http_fault(self.seed, method, path, nth_of_path))
    }
}
