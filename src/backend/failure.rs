//! What a failure means for automation: the backend's codes and flags → a class.
//!
//! Sources: Cerby's published automation failure codes (17 codes, 9 user actions, 4 tiers) and the job's `canRetry` and
//! `errorDetails.userRequired`. Waiting does not fix any of the published codes. Any other code is an ordinary failure,
//! which is retried with backoff. `MFAAlreadyEnable` is the exact value that the API sends.

use crate::membership::Operation;

/// Why an automation failed, as the backend reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// A stable identifier, or none.
    pub code: Option<String>,
    /// Text for people. It may name people and is not logged.
    pub message: Option<String>,
    pub screenshot_url: Option<String>,
    /// Whether the backend expects that another attempt can succeed.
    pub can_retry: Option<bool>,
    /// Whether the backend expects that a person is needed.
    pub user_required: Option<bool>,
}

/// What may be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Another attempt later can succeed.
    Transient,
    /// The integration's own credential or session is the cause, so every task of the integration fails in the same
    /// way.
    Credential(Remedy),
    Person(Remedy),
    /// The app has no automation for this operation.
    NoAutomation,
    /// The app reports that the member is already in the desired state.
    AlreadySo,
}

/// The published `user_action` of a code: what a person has to fix first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    AddLicenses,
    ReactivateSubscription,
    /// Grant the service account the permissions that it lacks.
    GrantPermissions,
    FixBusinessId,
    ReviewCredentials,
    ContactSupport,
    UpdateContactInfo,
    ConfigureMfa,
    /// Renew the trusted session of the browser extension.
    Reauthenticate,
    /// The code gives no details: check the failure in Cerby.
    Review,
}

impl Remedy {
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AddLicenses => "The app has no free seat: add licences there first.",
            Self::ReactivateSubscription => {
                "The app's subscription is not active: reactivate it first."
            }
            Self::GrantPermissions => {
                "The service account lacks permissions in the app: use an account that has them, and grant them."
            }
            Self::FixBusinessId => {
                "The business or tenant id stored in Cerby is wrong: correct it."
            }
            Self::ReviewCredentials => {
                "The stored login no longer works: update the credentials in Cerby."
            }
            Self::ContactSupport => "Cerby could not read the stored secret: tell Cerby's support.",
            Self::UpdateContactInfo => {
                "An email address or phone number is missing or wrong: correct it in Cerby."
            }
            Self::ConfigureMfa => {
                "Cerby does not manage the account's second factor: set that up in Cerby."
            }
            Self::Reauthenticate => {
                "The trusted session is gone: sign in again with Cerby's browser extension."
            }
            Self::Review => "Look at the failed job in Cerby's automation log.",
        }
    }
}

impl Failure {
    /// A failure that the daemon itself detected.
    pub fn ours(code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..Self::default() }
    }

    /// Whether the app rejected the integration's own login, whatever the operation was.
    pub fn refuses_login(&self) -> bool {
        matches!(self.class(Operation::ChangeRole), FailureClass::Credential(_))
    }

    pub fn class(&self, operation: Operation) -> FailureClass {
        match self.code.as_deref().map(|code| class_of_code(code, operation)) {
            Some(Some(class)) => class,
            _ if self.user_required == Some(true) || self.can_retry == Some(false) => {
                FailureClass::Person(Remedy::Review)
            }
            _ => FailureClass::Transient,
        }
    }
}

/// The class of a code; `None` if the code is not in the table.
fn class_of_code(code: &str, operation: Operation) -> Option<FailureClass> {
    use FailureClass::{AlreadySo, Credential, NoAutomation, Person};
    Some(match code {
        "NotEnoughSeats" => Person(Remedy::AddLicenses),
        "SubscriptionDeactivated" => Person(Remedy::ReactivateSubscription),
        "UnderpermissionedAccount" => Person(Remedy::GrantPermissions),
        "InvalidBusinessId" => Person(Remedy::FixBusinessId),
        "BadCredentials" | "EmptyPasswordError" => Credential(Remedy::ReviewCredentials),
        "AccountVaultError" => Credential(Remedy::ContactSupport),
        "EmailNotProvidedError" | "InvalidEmail" | "PhoneNotProvidedError" => {
            Person(Remedy::UpdateContactInfo)
        }
        "PhoneNotManagedError"
        | "GeneralMFANotManagedError"
        | "MFANotManagedError"
        | "MFAAlreadyEnable"
        | "OtherMFAMethodEnabledError"
        | "VerificationMethodsNotManagedError" => Person(Remedy::ConfigureMfa),
        "SecureDeviceNotFoundInStorage" => Credential(Remedy::Reauthenticate),
        "operation_not_supported" => NoAutomation,
        "AlreadyMember" if operation == Operation::Invite => AlreadySo,
        "MemberNotFound" if operation == Operation::Remove => AlreadySo,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Cerby's published codes, each with its `user_action`, and whether the integration's own login is the cause.
    const PUBLISHED: [(&str, &str, bool); 17] = [
        ("NotEnoughSeats", "add_licenses", false),
        ("SubscriptionDeactivated", "reactivate_subscription", false),
        ("UnderpermissionedAccount", "grant_permissions", false),
        ("InvalidBusinessId", "fix_business_id", false),
        ("BadCredentials", "review_credentials", true),
        ("EmptyPasswordError", "review_credentials", true),
        ("AccountVaultError", "contact_support", true),
        ("EmailNotProvidedError", "update_contact_info", false),
        ("InvalidEmail", "update_contact_info", false),
        ("PhoneNotProvidedError", "update_contact_info", false),
        ("PhoneNotManagedError", "configure_mfa", false),
        ("GeneralMFANotManagedError", "configure_mfa", false),
        ("MFANotManagedError", "configure_mfa", false),
        ("MFAAlreadyEnable", "configure_mfa", false),
        ("OtherMFAMethodEnabledError", "configure_mfa", false),
        ("VerificationMethodsNotManagedError", "configure_mfa", false),
        ("SecureDeviceNotFoundInStorage", "reauthenticate", true),
    ];

    const OPERATIONS: [Operation; 3] =
        [Operation::Invite, Operation::ChangeRole, Operation::Remove];

    fn user_action(remedy: Remedy) -> &'static str {
        match remedy {
            Remedy::AddLicenses => "add_licenses",
            Remedy::ReactivateSubscription => "reactivate_subscription",
            Remedy::GrantPermissions => "grant_permissions",
            Remedy::FixBusinessId => "fix_business_id",
            Remedy::ReviewCredentials => "review_credentials",
            Remedy::ContactSupport => "contact_support",
            Remedy::UpdateContactInfo => "update_contact_info",
            Remedy::ConfigureMfa => "configure_mfa",
            Remedy::Reauthenticate => "reauthenticate",
            Remedy::Review => "none",
        }
    }

    #[test]
    fn every_published_code_asks_a_person_for_its_published_action_whatever_the_flags_say() {
        let flags = [None, Some(false), Some(true)];
        let flags = flags.iter().flat_map(|one| flags.map(|other| (*one, other)));
        let flags: Vec<_> = flags.collect();
        for (code, action, is_credential) in PUBLISHED {
            for operation in OPERATIONS {
                for (can_retry, user_required) in &flags {
                    let (can_retry, user_required) = (*can_retry, *user_required);
                    let failure = Failure { can_retry, user_required, ..Failure::ours(code) };
                    let asked = match failure.class(operation) {
                        FailureClass::Credential(remedy) if is_credential => user_action(remedy),
                        FailureClass::Person(remedy) if !is_credential => user_action(remedy),
                        other => panic!("{code}: {other:?}"),
                    };
                    assert_eq!(asked, action, "{code}");
                }
            }
        }
    }

    #[test]
    fn every_published_action_is_told_to_people_in_its_own_words() {
        let sentence = |code| match Failure::ours(code).class(Operation::Remove) {
            FailureClass::Credential(remedy) | FailureClass::Person(remedy) => remedy.sentence(),
            other => panic!("{code}: {other:?}"),
        };
        let told: BTreeSet<_> =
            PUBLISHED.iter().map(|(code, action, _)| (*action, sentence(code))).collect();
        let sentences: BTreeSet<_> = told.iter().map(|(_, sentence)| *sentence).collect();
        assert_eq!((told.len(), sentences.len()), (9, 9), "{told:?}");
        assert!(!sentences.contains(Remedy::Review.sentence()));
    }

    #[test]
    fn a_code_is_known_only_in_its_exact_spelling() {
        for code in ["MFAAlreadyEnabled", "notenoughseats", "BadCredentials ", "", "no code"] {
            for operation in OPERATIONS {
                assert_eq!(Failure::ours(code).class(operation), FailureClass::Transient, "{code}");
            }
        }
    }

    #[test]
    fn an_operation_that_is_not_supported_has_no_automation() {
        for operation in OPERATIONS {
            let failure = Failure::ours("operation_not_supported");
            assert_eq!(failure.class(operation), FailureClass::NoAutomation);
        }
    }

    #[test]
    fn unknown_codes_are_ordinary_failures_unless_the_backend_asks_needs_no_automation() {
        let table = [
            (None, None, FailureClass::Transient),
            (Some(true), Some(false), FailureClass::Transient),
            (Some(false), None, FailureClass::Person(Remedy::Review)),
            (None, Some(true), FailureClass::Person(Remedy::Review)),
            (Some(true), Some(true), FailureClass::Person(Remedy::Review)),
        ];
        for (can_retry, user_required, expected) in table {
            for code in [None, Some("CaptchaShown".to_owned())] {
                let failure = Failure { code, can_retry, user_required, ..Failure::default() };
                assert_eq!(failure.class(Operation::Remove), expected);
            }
        }
    }

    #[test]
    fn already_so_depends_on_the_operation() {
        let already =
            |code, operation| Failure::ours(code).class(operation) == FailureClass::AlreadySo;
        assert!(already("AlreadyMember", Operation::Invite));
        assert!(!already("AlreadyMember", Operation::Remove));
        assert!(already("MemberNotFound", Operation::Remove));
        assert!(!already("MemberNotFound", Operation::ChangeRole));
    }
}
