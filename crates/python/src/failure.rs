//! What a failure says, in the words of the original host: apps compare and take apart these texts.
//!
//! F1  A failed activity's reason has two blanks after its colon, and its details are one line of JSON whose `Message`
//!     begins with a blank.
//! F2  A failed orchestrator's reason is its status output; its details name message and stack.

use everstep_model::{Failure, kinds};
use serde_json::json;

use crate::frame::Thrown;

/// The kind of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// An activity.
    Activity,
    /// An orchestrator.
    Orchestrator,
    /// An entity.
    Entity,
}

impl Role {
    fn noun(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Orchestrator => "orchestrator",
            Self::Entity => "entity",
        }
    }
}

/// An activity's attempt threw.
pub(crate) fn of_activity(name: &str, thrown: Thrown) -> Failure {
    let message = format!("{}{}", activity_head(name), thrown.message);
    Failure { kind: thrown.kind, message, stack: thrown.stack, ..Failure::default() }
}

/// An orchestrator threw.
pub(crate) fn of_orchestrator(name: &str, thrown: Thrown) -> Failure {
    let message = format!("{}{}", orchestrator_head(name), thrown.message);
    Failure { kind: thrown.kind, message, stack: thrown.stack, ..Failure::default() }
}

/// Nobody knows the name. `known` are those of the same kind.
pub(crate) fn unknown(role: Role, name: &str, known: &[String]) -> Failure {
    let noun = role.noun();
    let info = if known.is_empty() {
        format!("No {noun} functions are currently registered!")
    } else {
        let names: Vec<_> = known.iter().map(|name| format!("'{name}'")).collect();
        format!("The following are the known {noun} functions: {}.", names.join(", "))
    };
    let text = format!(
        "The function '{name}' doesn't exist, is disabled, or is not an {noun} function. Additional info: {info}"
    );
    Failure::new(kinds::NOT_FOUND, text).fatal()
}

fn activity_head(name: &str) -> String {
    format!("Activity function '{name}' failed:  ")
}

fn orchestrator_head(name: &str) -> String {
    format!("Orchestrator function '{name}' failed: ")
}

/// `Reason` and `Details` of an activity's failure.
pub(crate) fn activity_texts(name: &str, failure: &Failure) -> (String, String) {
    let head = activity_head(name);
    let (reason, said) = match failure.message.strip_prefix(&head) {
        Some(said) => (failure.message.clone(), said.to_owned()),
        None if failure.kind == kinds::NOT_FOUND => {
            (failure.message.clone(), failure.message.clone())
        }
        None => {
            let said = format!("{}: {}", failure.kind, failure.message);
            (format!("{head}{said}"), said)
        }
    };
    let details = json!({
        "$type": "System.Exception, System.Private.CoreLib",
        "ClassName": "System.Exception",
        "Message": format!(" {said}"),
        "Data": null,
        "InnerException": {
            "$type": "Microsoft.Azure.WebJobs.Script.Workers.Rpc.RpcException, Microsoft.Azure.WebJobs.Script",
            "IsUserException": false,
            "RemoteStackTrace": failure.stack,
            "RemoteMessage": said,
            "Message": format!("Result: Failure\nException: {said}\nStack: {}", failure.stack),
        },
        "HelpURL": null,
        "StackTraceString": null,
        "RemoteStackTraceString": null,
        "RemoteStackIndex": 0,
        "ExceptionMethod": null,
        "HResult": -2_146_233_088,
        "Source": null,
        "WatsonBuckets": null,
    });
    (reason, details.to_string())
}

/// `Reason` and `Details` of a sub-orchestration's failure.
pub(crate) fn child_texts(name: &str, failure: &Failure) -> (String, String) {
    let said = failure.message.strip_prefix(&orchestrator_head(name)).unwrap_or(&failure.message);
    (failure.message.clone(), format!("Message: {said}, StackTrace: {}", failure.stack))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boom() -> Thrown {
        Thrown {
            kind: "ValueError".into(),
            message: "ValueError: boom!".into(),
            stack: "line 1\nline 2".into(),
        }
    }

    #[test]
    fn an_activity_says_what_apps_take_apart() {
        let (reason, details) = activity_texts("Pay", &of_activity("Pay", boom()));
        assert_eq!(reason, "Activity function 'Pay' failed:  ValueError: boom!");
        assert!(!details.contains('\n'), "details are one line");
        let details: serde_json::Value = serde_json::from_str(&details).unwrap();
        assert_eq!(details["Message"], " ValueError: boom!");
        assert_eq!(details["InnerException"]["RemoteStackTrace"], "line 1\nline 2");
    }

    #[test]
    fn what_the_host_itself_says_of_an_activity_has_the_same_head() {
        let poison = Failure::new(kinds::POISON, "it took the process down 3 times");
        let (reason, _) = activity_texts("Pay", &poison);
        assert_eq!(
            reason,
            "Activity function 'Pay' failed:  Poison: it took the process down 3 times"
        );
    }

    #[test]
    fn a_child_says_message_and_stack() {
        let failure = of_orchestrator("Ship", Thrown { message: "no".into(), ..boom() });
        assert_eq!(
            child_texts("Ship", &failure),
            (
                "Orchestrator function 'Ship' failed: no".to_owned(),
                "Message: no, StackTrace: line 1\nline 2".to_owned()
            )
        );
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let known = ["A".to_owned(), "B".to_owned()];
        assert_eq!(
            unknown(Role::Activity, "X", &known).message,
            "The function 'X' doesn't exist, is disabled, or is not an activity function. Additional info: The following are the known activity functions: 'A', 'B'."
        );
        assert_eq!(
            unknown(Role::Entity, "X", &[]).message,
            "The function 'X' doesn't exist, is disabled, or is not an entity function. Additional info: No entity functions are currently registered!"
        );
    }
}
