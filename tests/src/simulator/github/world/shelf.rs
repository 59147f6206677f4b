//! A collection that a list endpoint pages through.
//!
//! Promises pages in creation or update order in both directions without
//! sorting per request: both orders are kept while objects change.

use std::collections::{BTreeSet, HashMap};

use super::Id;

/// What can stand on a shelf.
pub(crate) trait Item {
    fn id(&self) -> Id;
    fn created_at(&self) -> i64;
    fn updated_at(&self) -> i64;
    /// Drops what was rendered: the object has changed.
    fn forget_rendering(&mut self);
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Created,
    Updated,
}

/// Sort key and direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) by: Sort,
    pub(crate) ascending: bool,
}

/// Objects by id, by creation and by update.
pub(crate) struct Shelf<T> {
    items: HashMap<Id, T>,
    created: BTreeSet<(i64, Id)>,
    updated: BTreeSet<(i64, Id)>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            items: HashMap::new(),
            created: BTreeSet::new(),
            updated: BTreeSet::new(),
        }
    }
}

impl<T: Item> Shelf<T> {
    pub(crate) fn insert(&mut self, item: T) {
        let id = item.id();
        self.remove(id);
        self.created.insert((item.created_at(), id));
        self.updated.insert((item.updated_at(), id));
        self.items.insert(id, item);
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.items.get(&id)
    }

    /// Changes an object and puts it where it now belongs.
    pub(crate) fn change<R>(&mut self, id: Id, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let item = self.items.get_mut(&id)?;
        let before = (item.created_at(), item.updated_at());
        let answer = change(item);
        item.forget_rendering();
        let after = (item.created_at(), item.updated_at());
        if before.0 != after.0 {
            self.created.remove(&(before.0, id));
            self.created.insert((after.0, id));
        }
        if before.1 != after.1 {
            self.updated.remove(&(before.1, id));
            self.updated.insert((after.1, id));
        }
        Some(answer)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let item = self.items.remove(&id)?;
        self.created.remove(&(item.created_at(), id));
        self.updated.remove(&(item.updated_at(), id));
        Some(item)
    }

    /// All objects, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// Newest first by creation.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &T> {
        self.created
            .iter()
            .rev()
            .filter_map(|(_, id)| self.items.get(id))
    }

    /// Drops everything rendered (the repository's URLs have changed).
    pub(crate) fn forget_rendering(&mut self) {
        for item in self.items.values_mut() {
            item.forget_rendering();
        }
    }

    /// One page of what the filter accepts, and how many it accepts in all.
    /// `since` is inclusive and looks at the update time.
    pub(crate) fn page(
        &self,
        order: Order,
        since: Option<i64>,
        accepts: impl Fn(&T) -> bool,
        offset: usize,
        limit: usize,
    ) -> (Vec<&T>, usize) {
        let index = match order.by {
            Sort::Created => &self.created,
            Sort::Updated => &self.updated,
        };
        let from = match (order.by, since) {
            (Sort::Updated, Some(since)) => (since, 0),
            _ => (i64::MIN, 0),
        };
        let wanted =
            |item: &&T| since.is_none_or(|since| item.updated_at() >= since) && accepts(item);
        let items = |(_, id): &(i64, Id)| self.items.get(id);
        if order.ascending {
            collect(
                index.range(from..).filter_map(items).filter(wanted),
                offset,
                limit,
            )
        } else {
            collect(
                index.range(from..).rev().filter_map(items).filter(wanted),
                offset,
                limit,
            )
        }
    }
}

fn collect<'a, T>(
    items: impl Iterator<Item = &'a T>,
    offset: usize,
    limit: usize,
) -> (Vec<&'a T>, usize) {
    let mut page = Vec::with_capacity(limit);
    let mut total = 0;
    for item in items {
        if total >= offset && page.len() < limit {
            page.push(item);
        }
        total += 1;
    }
    (page, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(Id, i64, i64);

    impl Item for Thing {
        fn id(&self) -> Id {
            self.0
        }
        fn created_at(&self) -> i64 {
            self.1
        }
        fn updated_at(&self) -> i64 {
            self.2
        }
        fn forget_rendering(&mut self) {}
    }

    fn ids(page: (Vec<&Thing>, usize)) -> (Vec<Id>, usize) {
        (page.0.into_iter().map(|thing| thing.0).collect(), page.1)
    }

    #[test]
    fn a_changed_object_moves_to_the_end_of_the_ascending_update_order() {
        let mut shelf = Shelf::default();
        for id in 1..=5 {
            shelf.insert(Thing(id, 10, 10));
        }
        shelf.change(2, |thing| thing.2 = 20);
        let order = Order {
            by: Sort::Updated,
            ascending: true,
        };
        assert_eq!(
            ids(shelf.page(order, None, |_| true, 0, 3)),
            (vec![1, 3, 4], 5)
        );
        assert_eq!(
            ids(shelf.page(order, None, |_| true, 3, 3)),
            (vec![5, 2], 5)
        );
        assert_eq!(
            ids(shelf.page(order, Some(11), |_| true, 0, 3)),
            (vec![2], 1)
        );
        let newest = Order {
            by: Sort::Updated,
            ascending: false,
        };
        assert_eq!(
            ids(shelf.page(newest, None, |thing| thing.0 > 3, 0, 9)),
            (vec![5, 4], 2)
        );
    }

    #[test]
    fn since_is_inclusive_and_applies_to_updates_whatever_the_order() {
        let mut shelf = Shelf::default();
        shelf.insert(Thing(1, 10, 30));
        shelf.insert(Thing(2, 20, 20));
        let order = Order {
            by: Sort::Created,
            ascending: true,
        };
        assert_eq!(
            ids(shelf.page(order, Some(30), |_| true, 0, 9)),
            (vec![1], 1)
        );
        assert_eq!(shelf.remove(1).map(|thing| thing.0), Some(1));
        assert_eq!(ids(shelf.page(order, None, |_| true, 0, 9)), (vec![2], 1));
    }
}
