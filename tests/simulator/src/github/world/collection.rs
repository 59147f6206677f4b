//! Collection of objects for list endpoints.
//!
//! It indexes objects by creation and update time, so that a page in either order and direction
//! needs no sort.

use std::collections::{BTreeSet, HashMap};

use super::Id;

/// An object of a collection.
pub(crate) trait Item {
    fn id(&self) -> Id;
    fn created_at(&self) -> i64;
    fn updated_at(&self) -> i64;
    /// Drops the cached JSON, because the object has changed.
    fn invalidate_rendering(&mut self);
}

/// Implements [`Item`] for objects with the fields `id`, `created_at` and `updated_at`.
///
/// They cache their JSON in the named fields.
macro_rules! impl_item {
    ($($item:ty: $($cache:ident),+;)+) => {$(
        impl Item for $item {
            fn id(&self) -> Id {
                self.id
            }
            fn created_at(&self) -> i64 {
                self.created_at
            }
            fn updated_at(&self) -> i64 {
                self.updated_at
            }
            fn invalidate_rendering(&mut self) {
                $(self.$cache = OnceCell::new();)+
            }
        }
    )+};
}
pub(crate) use impl_item;

/// Sort key of a list.
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
pub(crate) struct Collection<T> {
    items: HashMap<Id, T>,
    created: BTreeSet<(i64, Id)>,
    updated: BTreeSet<(i64, Id)>,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self {
            items: HashMap::new(),
            created: BTreeSet::new(),
            updated: BTreeSet::new(),
        }
    }
}

impl<T: Item> Collection<T> {
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

    /// Changes an object and updates both indexes.
    pub(crate) fn change<R>(&mut self, id: Id, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let item = self.items.get_mut(&id)?;
        let before = (item.created_at(), item.updated_at());
        let result = change(item);
        item.invalidate_rendering();
        let after = (item.created_at(), item.updated_at());
        if before.0 != after.0 {
            self.created.remove(&(before.0, id));
            self.created.insert((after.0, id));
        }
        if before.1 != after.1 {
            self.updated.remove(&(before.1, id));
            self.updated.insert((after.1, id));
        }
        Some(result)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let item = self.items.remove(&id)?;
        self.created.remove(&(item.created_at(), id));
        self.updated.remove(&(item.updated_at(), id));
        Some(item)
    }

    /// All objects, unordered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// Objects by creation, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &T> {
        self.created
            .iter()
            .rev()
            .filter_map(|(_, id)| self.items.get(id))
    }

    /// Drops all cached JSON, because the repository's URLs have changed.
    pub(crate) fn invalidate_rendering(&mut self) {
        for item in self.items.values_mut() {
            item.invalidate_rendering();
        }
    }

    /// A page of the objects that match, and the total number of matches.
    ///
    /// `since` is inclusive and applies to the update time.
    pub(crate) fn page(
        &self,
        order: Order,
        since: Option<i64>,
        matches: impl Fn(&T) -> bool,
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
        let is_match =
            |item: &&T| since.is_none_or(|since| item.updated_at() >= since) && matches(item);
        let items = |(_, id): &(i64, Id)| self.items.get(id);
        if order.ascending {
            collect(
                index.range(from..).filter_map(items).filter(is_match),
                offset,
                limit,
            )
        } else {
            collect(
                index.range(from..).rev().filter_map(items).filter(is_match),
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

    struct TestItem(Id, i64, i64);

    impl Item for TestItem {
        fn id(&self) -> Id {
            self.0
        }
        fn created_at(&self) -> i64 {
            self.1
        }
        fn updated_at(&self) -> i64 {
            self.2
        }
        fn invalidate_rendering(&mut self) {}
    }

    fn ids(page: (Vec<&TestItem>, usize)) -> (Vec<Id>, usize) {
        (page.0.into_iter().map(|item| item.0).collect(), page.1)
    }

    #[test]
    fn changed_object_moves_to_the_end_of_updates() {
        let mut collection = Collection::default();
        for id in 1..=5 {
            collection.insert(TestItem(id, 10, 10));
        }
        collection.change(2, |item| item.2 = 20);
        let order = Order {
            by: Sort::Updated,
            ascending: true,
        };
        assert_eq!(
            ids(collection.page(order, None, |_| true, 0, 3)),
            (vec![1, 3, 4], 5)
        );
        assert_eq!(
            ids(collection.page(order, None, |_| true, 3, 3)),
            (vec![5, 2], 5)
        );
        assert_eq!(
            ids(collection.page(order, Some(11), |_| true, 0, 3)),
            (vec![2], 1)
        );
        let newest = Order {
            by: Sort::Updated,
            ascending: false,
        };
        assert_eq!(
            ids(collection.page(newest, None, |item| item.0 > 3, 0, 9)),
            (vec![5, 4], 2)
        );
    }

    #[test]
    fn since_is_inclusive_and_filters_by_update_time() {
        let mut collection = Collection::default();
        collection.insert(TestItem(1, 10, 30));
        collection.insert(TestItem(2, 20, 20));
        let order = Order {
            by: Sort::Created,
            ascending: true,
        };
        assert_eq!(
            ids(collection.page(order, Some(30), |_| true, 0, 9)),
            (vec![1], 1)
        );
        assert_eq!(collection.remove(1).map(|item| item.0), Some(1));
        assert_eq!(
            ids(collection.page(order, None, |_| true, 0, 9)),
            (vec![2], 1)
        );
    }
}
