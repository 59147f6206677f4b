//! Content of messages, and its text in rows with entities.

/// Name and address of a sender or recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Party {
    pub(crate) fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
        }
    }

    /// The name, or the address of a party without one.
    pub(crate) fn display_name(&self) -> &str {
        if self.name.is_empty() {
            &self.address
        } else {
            &self.name
        }
    }
}

/// Content of a message.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) from: Party,
    pub(crate) to: Vec<Party>,
    pub(crate) cc: Vec<Party>,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) has_attachment: bool,
}

const SUBJECTS: [&str; 6] = [
    "Invoice",
    "Terms & conditions",
    "It's <urgent>",
    "Review of \"Größe\"",
    "請求書",
    "Re: Minutes",
];
const SENDERS: [&str; 4] = ["Support", "Büro", "O'Neill & Sons", "Sales, North"];
const COMPANIES: [&str; 3] = ["supplier", "customer", "partner"];

/// One of several items, by a part of the mixed id.
fn choose<T: Copy>(items: &[T], bits: u64) -> T {
    let count = items.len() as u64;
    items[usize::try_from(bits % count).unwrap_or_default()]
}

/// Spreads the bits of an id.
pub(crate) fn mix(id: u64) -> u64 {
    let mut bits = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A correspondent outside of the simulated organizations.
fn correspondent(bits: u64) -> Party {
    let (number, company) = (bits % 40 + 1, choose(&COMPANIES, bits >> 8));
    let name = choose(&SENDERS, bits >> 16);
    Party {
        name: format!("{name} {number}"),
        address: format!("contact-{number}@{company}.example"),
    }
}

impl Content {
    /// Content of a message that no action wrote, between the owner and a correspondent.
    pub(crate) fn generate(id: u64, owner: &Party, is_outgoing: bool) -> Self {
        let bits = mix(id);
        let other = correspondent(bits >> 4);
        let (from, to) = if is_outgoing {
            (owner.clone(), other)
        } else {
            (other, owner.clone())
        };
        let copied = bits.is_multiple_of(4).then(|| correspondent(bits >> 20));
        Self {
            from,
            to: vec![to],
            cc: copied.into_iter().collect(),
            subject: format!("{} {}", choose(&SUBJECTS, bits >> 12), (bits >> 20) % 1_000),
            text: format!("It's about <number> {}.", bits % 10_000),
            has_attachment: (bits >> 40).is_multiple_of(8),
        }
    }

    /// Size of the message in bytes.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + self.subject.len()
    }
}

/// Text with entities, as rows have it.
pub(crate) fn entities(text: &str) -> String {
    crate::oauth::escape(text).replace('\'', "&#39;")
}

/// Addresses with names, in the form of deliveries.
pub(crate) fn addresses(parties: &[Party]) -> String {
    let one = |party: &Party| match party.name.as_str() {
        "" => format!("<{}>", party.address),
        name => format!("\"{name}\"<{}>", party.address),
    };
    let all: Vec<String> = parties.iter().map(one).collect();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names_in_quotes() {
        let parties = [
            Party::new("Paula", "p@x.example"),
            Party::new("", "q@x.example"),
        ];
        let text = addresses(&parties);
        assert_eq!(text, "\"Paula\"<p@x.example>,<q@x.example>");
        let row = "&quot;Paula&quot;&lt;p@x.example&gt;,&lt;q@x.example&gt;";
        assert_eq!(entities(&text), row);
        assert_eq!(entities("It's A & B"), "It&#39;s A &amp; B");
    }

    #[test]
    fn generated_content_is_a_function_of_the_id() {
        let owner = Party::new("Owner", "o@x.example");
        let one = Content::generate(7, &owner, false);
        assert_eq!(one.subject, Content::generate(7, &owner, false).subject);
        assert_eq!((one.to.len(), &one.to[0]), (1, &owner));
        assert_eq!(Content::generate(7, &owner, true).from, owner);
        let copied = (0..100).filter(|id| !Content::generate(*id, &owner, false).cc.is_empty());
        assert!((10..50).contains(&copied.count()));
    }
}
