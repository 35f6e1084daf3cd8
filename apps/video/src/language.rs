//! What the app says in its log, in the original's language and in English.
//!
//! What programs read (answers, results, names) has one form; only lines for people are translated.

/// A language of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Ukrainian,
    English,
}

/// Something to say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Line<'a> {
    /// A run was started.
    Started { instance: &'a str, blob: &'a str },
    /// A request was put into the queue.
    Requested { instance: &'a str, queue: &'a str },
    /// A video was processed in time.
    Completed { instance: &'a str },
    /// Nobody answered in time.
    Escalated { instance: &'a str },
    /// A run did not work.
    Failed { instance: &'a str, error: &'a str },
    /// An answer was handed to its run.
    Answered { instance: &'a str },
    /// An answer came after the end.
    Late { instance: &'a str, count: u64 },
    /// An answer for a run that nobody knows.
    Unknown { instance: &'a str },
    /// An event that is not about a new blob.
    Ignored { kind: &'a str },
}

impl Language {
    /// A line in this language.
    pub(crate) fn says(self, line: Line<'_>) -> String {
        match self {
            Self::Ukrainian => ukrainian(line),
            Self::English => english(line),
        }
    }
}

fn ukrainian(line: Line<'_>) -> String {
    match line {
        Line::Started { instance, blob } => format!("Запущено обробку відео `{blob}`: {instance}"),
        Line::Requested { instance, queue } => {
            format!("Запит на обробку надіслано до черги `{queue}`: {instance}")
        }
        Line::Completed { instance } => format!("Відео оброблено: {instance}"),
        Line::Escalated { instance } => {
            format!("Час очікування вичерпано, потрібна ескалація: {instance}")
        }
        Line::Failed { instance, error } => format!("Обробка не вдалася: {instance}: {error}"),
        Line::Answered { instance } => format!("Відповідь передано: {instance}"),
        Line::Late { instance, count } => {
            format!(
                "Відповідь надійшла після завершення і нічого не змінює: {instance}; таких відповідей: {count}"
            )
        }
        Line::Unknown { instance } => format!("Відповідь для невідомого екземпляра: {instance}"),
        Line::Ignored { kind } => format!("Подія `{kind}` не про новий файл, її пропущено"),
    }
}

fn english(line: Line<'_>) -> String {
    match line {
        Line::Started { instance, blob } => {
            format!("processing of video `{blob}` has begun: {instance}")
        }
        Line::Requested { instance, queue } => {
            format!("the request was sent to the queue `{queue}`: {instance}")
        }
        Line::Completed { instance } => format!("the video is processed: {instance}"),
        Line::Escalated { instance } => format!("the time is up, somebody has to look: {instance}"),
        Line::Failed { instance, error } => {
            format!("the processing has failed: {instance}: {error}")
        }
        Line::Answered { instance } => format!("the answer was handed over: {instance}"),
        Line::Late { instance, count } => {
            format!(
                "an answer came after the end and changes nothing: {instance}; such answers: {count}"
            )
        }
        Line::Unknown { instance } => {
            format!("an answer for an instance that nobody knows: {instance}")
        }
        Line::Ignored { kind } => {
            format!("the event `{kind}` is not about a new blob and is left out")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_said_in_both_languages_and_names_what_it_is_about() {
        let instance = "a1";
        let lines = [
            Line::Started { instance, blob: "a.mp4" },
            Line::Requested { instance, queue: "q" },
            Line::Completed { instance },
            Line::Escalated { instance },
            Line::Failed { instance, error: "no" },
            Line::Answered { instance },
            Line::Late { instance, count: 2 },
            Line::Unknown { instance },
        ];
        for line in lines {
            let (ours, theirs) = (Language::English.says(line), Language::Ukrainian.says(line));
            assert!(ours.contains(instance) && theirs.contains(instance), "{line:?}");
            assert!(ours.is_ascii() && !theirs.is_ascii(), "{line:?}");
        }
        assert_eq!(
            Language::Ukrainian.says(Line::Ignored { kind: "x" }),
            "Подія `x` не про новий файл, її пропущено"
        );
    }
}
