//! Views of a folder or thread: parameters, order and page.

use super::errors::ApiError;
use super::folder::FolderType;
use super::mailbox::{Mailbox, Message};
use super::settings::Settings;

/// Rows of a page without the parameter `limit`.
const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 200;

/// Order of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortBy {
    Date,
    Id,
    Size,
}

/// Parameters of a view.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    folder: Option<u64>,
    thread: Option<u64>,
    /// Position of the first row, from 1.
    start: usize,
    limit: usize,
    sort_by: SortBy,
    is_ascending: bool,
    is_read: Option<bool>,
    includes_sent: bool,
    pub(super) has_recipients: bool,
}

impl View {
    pub(super) fn parse(query: &[(String, String)]) -> Result<Self, ApiError> {
        let mut view = Self {
            folder: None,
            thread: None,
            start: 1,
            limit: DEFAULT_LIMIT,
            sort_by: SortBy::Date,
            is_ascending: false,
            is_read: None,
            includes_sent: false,
            has_recipients: false,
        };
        for (name, value) in query {
            view.set(name, value)?;
        }
        Ok(view)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let wrong = || ApiError::wrong_parameter(name);
        let flag = || value.parse::<bool>().map_err(|_| wrong());
        let id = || value.parse::<u64>().map_err(|_| wrong());
        let number = |max: usize| {
            let number = value.parse::<usize>().ok();
            number
                .filter(|number| (1..=max).contains(number))
                .ok_or_else(wrong)
        };
        match name {
            "folderId" => self.folder = Some(id()?),
            "threadId" => self.thread = Some(id()?),
            "start" => self.start = number(usize::MAX)?,
            "limit" => self.limit = number(MAX_LIMIT)?,
            "sortorder" => self.is_ascending = flag()?,
            "includeto" => self.has_recipients = flag()?,
            "includesent" => self.includes_sent = flag()?,
            "includearchive" => {
                flag()?;
            }
            // Clients send it; the view is not searched.
            "searchKey" => {}
            "sortBy" => {
                self.sort_by = match value {
                    "date" => SortBy::Date,
                    "messageId" => SortBy::Id,
                    "size" => SortBy::Size,
                    _ => return Err(wrong()),
                }
            }
            "status" => {
                self.is_read = match value {
                    "read" => Some(true),
                    "unread" => Some(false),
                    "all" => None,
                    _ => return Err(wrong()),
                }
            }
            _ => return Err(ApiError::extra_parameter(name)),
        }
        Ok(())
    }

    /// Messages of the page.
    ///
    /// Positions count from the first row at the time of the request, so arrivals shift them.
    pub(super) fn page<'m>(
        &self,
        mailbox: &'m Mailbox,
        settings: &Settings,
    ) -> Result<Vec<&'m Message>, ApiError> {
        let limit = self.limit.min(settings.max_page_size.max(1));
        let is_shown = |message: &&Message| {
            let is_read = self.is_read.is_none_or(|wanted| wanted == message.is_read);
            let in_thread = self.thread.is_none_or(|one| message.thread == Some(one));
            is_read && in_thread
        };
        let folder = match (self.folder, self.thread) {
            (Some(id), _) if mailbox.folders.get(id).is_none() => {
                return Err(ApiError::unknown("Folder", &id.to_string()));
            }
            (Some(id), _) => Some(id),
            (None, Some(_)) => None,
            (None, None) => Some(mailbox.system(FolderType::Inbox)),
        };
        if let Some(folder) = folder
            && self.sort_by == SortBy::Date
            && !self.includes_sent
        {
            let messages = mailbox.in_folder(folder).filter(is_shown);
            return Ok(self.cut(messages, limit));
        }
        let sent = mailbox.system(FolderType::Sent);
        let is_in = |message: &&Message| {
            let own = folder.is_none_or(|folder| message.folder == folder);
            own || (self.includes_sent && message.folder == sent)
        };
        let mut all: Vec<&Message> = mailbox.messages().filter(is_in).filter(is_shown).collect();
        match self.sort_by {
            SortBy::Date => all.sort_by_key(|message| (message.received, message.id)),
            SortBy::Id => all.sort_by_key(|message| message.id),
            SortBy::Size => {
                all.sort_by_key(|message| (mailbox.content(message).size(), message.id));
            }
        }
        Ok(self.cut(all.into_iter(), limit))
    }

    /// The page of messages in ascending order.
    fn cut<'m>(
        &self,
        messages: impl DoubleEndedIterator<Item = &'m Message>,
        limit: usize,
    ) -> Vec<&'m Message> {
        let skipped = self.start - 1;
        if self.is_ascending {
            messages.skip(skipped).take(limit).collect()
        } else {
            messages.rev().skip(skipped).take(limit).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<View, String> {
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        View::parse(&query).map_err(|error| error.body()["data"]["errorCode"].to_string())
    }

    #[test]
    fn parameters_have_bounds_and_defaults() {
        let view = parse("").expect("a view");
        assert_eq!((view.start, view.limit), (1, 10));
        assert!(!view.is_ascending && !view.has_recipients);
        let query = "folderId=7&start=201&limit=200&sortBy=date&sortorder=false&includeto=true\
                     &includesent=false&includearchive=false";
        let view = parse(query).expect("a view");
        assert_eq!((view.folder, view.start, view.limit), (Some(7), 201, 200));
        assert!(view.has_recipients);
        for wrong in [
            "start=0",
            "limit=201",
            "limit=0",
            "folderId=Inbox",
            "sortBy=age",
        ] {
            let error = parse(wrong).expect_err(wrong);
            assert_eq!(error, "\"PATTERN_NOT_MATCHED\"", "{wrong}");
        }
        let extra = parse("receivedTime=1").expect_err("an error");
        assert_eq!(extra, "\"EXTRA_PARAM_FOUND\"");
    }
}
