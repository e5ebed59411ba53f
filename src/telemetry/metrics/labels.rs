//! The values of labels: closed sets, so that the number of series does not grow. No label names a workspace, an
//! integration or a member.

use crate::membership::words;

words! {
    /// How an attempt ended.
    AttemptClass {
        Succeeded = "succeeded",
        /// Another attempt later can succeed.
        Transient = "transient",
        /// The app rejects the stored login.
        Login = "login",
        /// A person has to fix something first.
        Person = "person",
        NoAutomation = "no_automation",
        /// Its outcome is unknown.
        Lost = "lost",
    }
}

words! {
    /// How a task ended.
    TaskEnd {
        Succeeded = "succeeded",
        /// The backend reported that automation did it, without this service.
        SucceededElsewhere = "succeeded_elsewhere",
        Escalated = "escalated",
        Superseded = "superseded",
        Cancelled = "cancelled",
    }
}

words! {
    VerdictGiven {
        Confirmed = "confirmed",
        NotYet = "not_yet",
        Contradicted = "contradicted",
        Unverifiable = "unverifiable",
    }
}

words! {
    /// What a worker holds a lease of.
    Leased {
        Task = "task",
        Sync = "sync",
    }
}

words! {
    /// A call of `docs/backend-api.yaml`.
    BackendCall {
        Invite = "invite",
        ChangeRole = "change_role",
        Remove = "remove",
        Member = "member",
        Members = "members",
        Person = "person",
        Integration = "integration",
        Job = "job",
        StartSync = "start_sync",
        StartCheck = "start_check",
        Report = "report",
        ApplyReport = "apply_report",
    }
}

words! {
    /// How a request to the backend ended.
    RequestOutcome {
        Ok = "ok",
        Unreachable = "unreachable",
        NoAnswer = "no_answer",
        UnexpectedResponse = "unexpected_response",
        TooLarge = "too_large",
        RateLimited = "rate_limited",
        KeyRejected = "key_rejected",
        Unavailable = "unavailable",
        ServerError = "server_error",
        NotFound = "not_found",
        Refused = "refused",
    }
}

words! {
    /// The statements that are measured by name: those of the hot path. All others share one name.
    Statement {
        ClaimTasks = "claim_tasks",
        EndRequests = "end_requests",
        ReleaseRequests = "release_requests",
        GiveTurn = "give_turn",
        AppendEvents = "append_events",
        WorkDue = "work_due",
        ReadArrivals = "read_arrivals",
        PlaceTasks = "place_tasks",
        WriteOrder = "write_order",
        ClaimSyncs = "claim_syncs",
        WriteVerdicts = "write_verdicts",
        Commit = "commit",
        Other = "other",
    }
}

impl Statement {
    pub(super) fn named(name: &str) -> Self {
        name.parse().unwrap_or(Self::Other)
    }
}

words! {
    /// A loop of the daemon.
    LoopName {
        Wakeup = "wakeup",
        Outages = "outages",
        Intake = "intake",
        Nudges = "nudges",
        Tasks = "tasks",
        Syncs = "syncs",
        Webhooks = "webhooks",
        Upkeep = "upkeep",
    }
}

words! {
    /// Where an unfinished task stands.
    TaskPosition {
        Unordered = "unordered",
        /// A person has to decide.
        Held = "held",
        /// Behind another task or an action of its member.
        Blocked = "blocked",
        Scheduled = "scheduled",
        Due = "due",
        /// A job of the backend is in flight for it.
        Running = "running",
    }
}

words! {
    UnfinishedSync {
        Requested = "requested",
        Started = "started",
        ReportReady = "report_ready",
        Held = "held",
        Applying = "applying",
    }
}

words! {
    IntegrationStatus {
        Active = "active",
        Probing = "probing",
        Tripped = "tripped",
        Paused = "paused",
        LoginRejected = "login_rejected",
    }
}

words! {
    /// What a delivery of a webhook was answered.
    WebhookAnswer {
        Stored = "stored",
        /// It is about something else than a change of members.
        NotKept = "not_kept",
        /// The workspace has as many open events as are allowed.
        Full = "full",
        Unsigned = "unsigned",
        UnknownKey = "unknown_key",
        WrongSignature = "wrong_signature",
        WrongTime = "wrong_time",
        Unreadable = "unreadable",
        TooLong = "too_long",
        /// The address sent too many wrong signatures.
        Blocked = "blocked",
        /// The database failed.
        Failed = "failed",
    }
}

words! {
    /// How an event of a webhook ended by itself.
    WebhookEnd {
        Tasks = "tasks",
        NoMembers = "no_members",
        GivenUp = "given_up",
    }
}

words! {
    /// Where the text of instructions comes from.
    TextSource {
        Shipped = "shipped",
        Folder = "folder",
    }
}

words! {
    Connections {
        InUse = "in_use",
        Idle = "idle",
    }
}
