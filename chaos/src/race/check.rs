//! Checks whether some order of the overlapping calls allows all answers.
//!
//! The starts and ends of the calls are processed in the order of time, together with the set of
//! all containers that are possible at each moment (Wing and Gong, Testing and verifying concurrent
//! objects, 1993). At its end a call must be done, so the calls that have started are continued, in
//! every order, until it is. If no possibility is left, no order allows the answer.

use std::collections::HashSet;

use super::model::{Answer, Container, DONE, Op, Progress, Verb};

/// A call with its start and end, in nanoseconds of the monotonic clock.
#[derive(Clone, Debug)]
pub struct Timed {
    pub op: Op,
    pub begun: u64,
    pub ended: u64,
}

/// Marks the answers of `ps` that overlap with an `exec` in the same container: when init ends, the
/// kernel kills the other processes of its pid namespace, and they leave the cgroup after it.
pub fn mark_processes_of_exec(calls: &mut [Timed]) {
    let spans: Vec<_> = calls
        .iter()
        .filter(|call| call.op.verb == Verb::Exec)
        .map(|call| (call.begun, call.ended))
        .collect();
    for call in calls {
        let overlaps = |(begun, ended): &(u64, u64)| *begun <= call.ended && *ended >= call.begun;
        if call.op.answer == Answer::Processes(true) && spans.iter().any(overlaps) {
            call.op.answer = Answer::ProcessesOfExec;
        }
    }
}

/// The result of the search.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Allowed,
    /// The answer of this call is not allowed; with the containers that were possible at its end
    /// otherwise.
    NotAllowed(usize, Vec<Container>),
    /// At the end of this call there are too many possibilities.
    TooMany(usize),
}

/// The maximum number of possibilities.
const LIMIT: usize = 300_000;

/// A possibility: the container, and the progress of each call that has started.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Possible {
    container: Container,
    progress: Vec<Progress>,
}

/// Checks the calls about one id, which is free at the start.
pub fn check(calls: &[Timed]) -> Verdict {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        // If two have the same time, the start comes first, so that the calls overlap.
        moments.push((call.begun, false, index));
        moments.push((call.ended, true, index));
    }
    moments.sort_unstable();
    let mut pending: Vec<usize> = Vec::new();
    let mut possible = HashSet::from([Possible {
        container: Container::NONE,
        progress: Vec::new(),
    }]);
    for (_, ends, index) in moments {
        if !ends {
            pending.push(index);
            possible = possible
                .into_iter()
                .map(|mut one| {
                    one.progress.push(Progress::default());
                    look(&mut one, calls, &pending);
                    one
                })
                .collect();
            continue;
        }
        let place = pending.iter().position(|one| *one == index);
        let place = place.expect("what ends has begun");
        let Some(next) = until_done(&possible, calls, &pending, place) else {
            return Verdict::TooMany(index);
        };
        if next.is_empty() {
            let mut containers: Vec<_> = possible.iter().map(|one| one.container).collect();
            containers.sort_unstable_by_key(|one| format!("{one}"));
            containers.dedup();
            return Verdict::NotAllowed(index, containers);
        }
        pending.remove(place);
        possible = next
            .into_iter()
            .map(|mut one| {
                one.progress.remove(place);
                one
            })
            .collect();
    }
    Verdict::Allowed
}

/// Lets read-only calls take place. `None` if there are too many possibilities.
fn look(one: &mut Possible, calls: &[Timed], pending: &[usize]) {
    for (place, index) in pending.iter().enumerate() {
        let op = &calls[*index].op;
        if op.only_looks()
            && let Some((_, progress)) = op.next(one.container, one.progress[place]).pop()
        {
            one.progress[place] = progress;
        }
    }
}

/// Every possibility in which the call at `place` is done, with no more steps than that needs.
fn until_done(
    possible: &HashSet<Possible>,
    calls: &[Timed],
    pending: &[usize],
    place: usize,
) -> Option<HashSet<Possible>> {
    let op = &calls[pending[place]].op;
    let mut seen = possible.clone();
    let mut open: Vec<_> = possible.iter().cloned().collect();
    let mut done = HashSet::new();
    while let Some(one) = open.pop() {
        if seen.len() > LIMIT {
            return None;
        }
        if op.is_done(one.progress[place]) {
            done.insert(one.clone());
            // A call that has failed may have done a part of its work, perhaps after a step of
            // another call.
            if one.progress[place] == DONE {
                continue;
            }
        }
        grow(&one, calls, pending, &mut seen, &mut open);
    }
    Some(done)
}

/// Adds the results of one more step.
fn grow(
    one: &Possible,
    calls: &[Timed],
    pending: &[usize],
    seen: &mut HashSet<Possible>,
    open: &mut Vec<Possible>,
) {
    let mut add = |container, changed: Option<(usize, Progress)>| {
        let mut next = Possible {
            container,
            progress: one.progress.clone(),
        };
        if let Some((place, progress)) = changed {
            next.progress[place] = progress;
        }
        look(&mut next, calls, pending);
        if seen.insert(next.clone()) {
            open.push(next);
        }
    };
    for changed in one.container.changes() {
        add(changed, None);
    }
    for (place, index) in pending.iter().enumerate() {
        for (container, progress) in calls[*index].op.next(one.container, one.progress[place]) {
            add(container, Some((place, progress)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Phase, Refusal, Status};
    use super::*;

    const NOT_THERE: Answer = Answer::Refused(Refusal::NotThere);
    const ALREADY_RUNNING: Answer = Answer::Refused(Refusal::AlreadyRunning);

    /// Calls by verb and answer, with their starts and ends.
    fn history(calls: &[(Verb, Answer, u64, u64)]) -> Vec<Timed> {
        calls
            .iter()
            .map(|&(verb, answer, begun, ended)| Timed {
                op: Op { verb, answer },
                begun,
                ended,
            })
            .collect()
    }

    /// A container of generation 1 that was created from 0 to 9, followed by these calls.
    fn after_create(calls: &[(Verb, Answer, u64, u64)]) -> Verdict {
        let mut all = vec![(Verb::Create(1), Answer::Done, 0, 9)];
        all.extend(calls);
        check(&history(&all))
    }

    #[track_caller]
    fn allowed(verdict: Verdict) {
        assert_eq!(verdict, Verdict::Allowed);
    }

    /// Asserts that the answer of the call at this place after the create is not allowed.
    #[track_caller]
    fn refused(verdict: Verdict, place: usize) {
        assert!(
            matches!(verdict, Verdict::NotAllowed(index, _) if index == place + 1),
            "{verdict:?}"
        );
    }

    /// Init takes the message of one start only, whatever becomes of it.
    #[test]
    fn a_start_that_overlaps_with_one_that_does_not_end_well() {
        let second = |first: (Verb, Answer, u64, u64)| {
            after_create(&[
                (Verb::Start, ALREADY_RUNNING, 10, 12),
                (Verb::State, Answer::Status(Status::Created, 1), 13, 14),
                (Verb::DeleteForce, Answer::Done, 15, 19),
                first,
            ])
        };
        let stopped = Answer::Refused(Refusal::HasStopped);
        allowed(second((Verb::Start, Answer::Died, 11, 20)));
        allowed(second((Verb::Start, stopped, 11, 20)));
        refused(second((Verb::Start, Answer::Died, 13, 20)), 0);
        refused(second((Verb::Start, NOT_THERE, 11, 20)), 0);
    }

    /// Init executes after the end of a start that was killed.
    #[test]
    fn a_start_that_was_killed_takes_effect_later() {
        let later = |status| {
            after_create(&[
                (Verb::Start, Answer::Cut, 10, 11),
                (Verb::State, Answer::Status(Status::Created, 1), 12, 13),
                (Verb::State, Answer::Status(status, 1), 14, 15),
                (Verb::State, Answer::Status(Status::Created, 1), 16, 17),
            ])
        };
        allowed(later(Status::Created));
        refused(later(Status::Running), 3);
    }

    #[test]
    fn calls_one_after_the_other() {
        allowed(after_create(&[
            (Verb::State, Answer::Status(Status::Created, 1), 10, 11),
            (Verb::Start, Answer::Done, 12, 13),
            (Verb::Exec, Answer::Ran(1), 14, 15),
            (Verb::Pause, Answer::Done, 16, 17),
            (Verb::State, Answer::Status(Status::Paused, 1), 18, 19),
            (Verb::Exec, Answer::Refused(Refusal::IsPaused), 20, 21),
            (Verb::Resume, Answer::Done, 22, 23),
            (
                Verb::Delete,
                Answer::Refused(Refusal::NotStopped(Status::Running)),
                24,
                25,
            ),
            (Verb::Kill, Answer::Done, 26, 27),
            (Verb::State, Answer::Status(Status::Running, 1), 28, 29),
            (Verb::State, Answer::Status(Status::Stopped, 1), 30, 31),
            (Verb::Delete, Answer::Done, 32, 33),
            (Verb::State, NOT_THERE, 34, 35),
            (Verb::Create(2), Answer::Done, 36, 37),
        ]));
    }

    #[test]
    fn a_wrong_answer_is_found_at_its_place() {
        let status = |status| (Verb::State, Answer::Status(status, 1), 10, 11);
        refused(after_create(&[status(Status::Running)]), 0);
        refused(after_create(&[status(Status::Stopped)]), 0);
        refused(after_create(&[status(Status::Paused)]), 0);
        refused(after_create(&[(Verb::State, NOT_THERE, 10, 11)]), 0);
        refused(after_create(&[(Verb::List, Answer::NotListed, 10, 11)]), 0);
        refused(after_create(&[(Verb::Create(2), Answer::Done, 10, 11)]), 0);
        refused(after_create(&[(Verb::Resume, Answer::Done, 10, 11)]), 0);
        refused(after_create(&[(Verb::Exec, Answer::Ran(2), 10, 11)]), 0);
        refused(after_create(&[(Verb::Exec, Answer::Died, 10, 11)]), 0);
        let running = Answer::Refused(Refusal::AlreadyRunning);
        refused(after_create(&[(Verb::Start, running, 10, 11)]), 0);
        let half = Answer::Refused(Refusal::HalfMade);
        refused(after_create(&[(Verb::Delete, half, 10, 11)]), 0);
    }

    #[test]
    fn overlapping_calls_may_be_in_either_order() {
        for answer in [NOT_THERE, Answer::Status(Status::Created, 1)] {
            let create = (Verb::Create(1), Answer::Done, 0, 9);
            allowed(check(&history(&[create, (Verb::State, answer, 5, 7)])));
        }
        let exists = Answer::Refused(Refusal::Exists);
        let two = |second| {
            check(&history(&[
                (Verb::Create(1), Answer::Done, 0, 9),
                (Verb::Create(2), second, 3, 7),
            ]))
        };
        allowed(two(exists));
        assert!(matches!(two(Answer::Done), Verdict::NotAllowed(0, _)));
    }

    #[test]
    fn one_container_is_deleted_once() {
        let delete = (Verb::Delete, Answer::Done, 10, 20);
        refused(after_create(&[delete, delete]), 1);
        let missing = (Verb::Delete, NOT_THERE, 10, 20);
        allowed(after_create(&[delete, missing]));
        // With --force, a container that does not exist may be deleted again.
        let force = (Verb::DeleteForce, Answer::Done, 10, 20);
        allowed(after_create(&[delete, force, force]));
    }

    #[test]
    fn a_late_delete_does_not_end_the_next_container() {
        let late = (Verb::Delete, Answer::Done, 10, 40);
        let next = [
            late,
            (Verb::Delete, Answer::Done, 11, 12),
            (Verb::Create(2), Answer::Done, 13, 14),
            (Verb::Start, Answer::Done, 15, 16),
            (Verb::State, Answer::Status(Status::Running, 2), 41, 42),
        ];
        refused(after_create(&next), 4);
        let mut stays = next;
        stays[0].1 = NOT_THERE;
        allowed(after_create(&stays));
    }

    #[test]
    fn only_what_was_killed_stops() {
        let stopped = (Verb::State, Answer::Status(Status::Stopped, 1), 20, 21);
        refused(after_create(&[stopped]), 0);
        allowed(after_create(&[(Verb::Kill, Answer::Done, 10, 30), stopped]));
        // A start that was killed may or may not have started the program.
        let cut = (Verb::Start, Answer::Cut, 10, 11);
        refused(after_create(&[cut, stopped]), 1);
        for status in [Status::Created, Status::Running] {
            let state = (Verb::State, Answer::Status(status, 1), 20, 21);
            allowed(after_create(&[cut, state]));
        }
    }

    #[test]
    fn the_freezer_accepts_a_value_that_it_has() {
        let both = |verb, from| [(verb, Answer::Done, from, 19), (verb, Answer::Done, 18, 20)];
        allowed(after_create(&both(Verb::Pause, 17)));
        let later = (Verb::Pause, Answer::Done, 20, 21);
        refused(
            after_create(&[(Verb::Pause, Answer::Done, 17, 19), later]),
            1,
        );
        let mut calls = vec![(Verb::Pause, Answer::Done, 10, 11)];
        calls.extend(both(Verb::Resume, 17));
        allowed(after_create(&calls));
        let paused = (Verb::State, Answer::Status(Status::Paused, 1), 21, 22);
        calls.push(paused);
        refused(after_create(&calls), 3);
    }

    #[test]
    fn a_container_may_be_started_before_a_delete_kills_it() {
        let delete = |force| {
            if force {
                (Verb::DeleteForce, Answer::Done, 10, 30)
            } else {
                (Verb::Delete, Answer::Done, 10, 30)
            }
        };
        let start = (Verb::Start, Answer::Done, 11, 12);
        let running = (Verb::State, Answer::Status(Status::Running, 1), 13, 14);
        allowed(after_create(&[delete(false), start, running]));
        allowed(after_create(&[delete(true), start, running]));
        let late = (Verb::Delete, Answer::Done, 13, 30);
        refused(after_create(&[start, late]), 1);
    }

    #[test]
    fn a_create_that_fails_at_its_end_has_been_seen() {
        let stopped = Answer::Refused(Refusal::HasStopped);
        let create = (Verb::Create(1), Answer::Died, 0, 9);
        let start = (Verb::Start, stopped, 4, 8);
        let force = (Verb::DeleteForce, Answer::Done, 3, 7);
        allowed(check(&history(&[create, start, force])));
        assert!(matches!(
            check(&history(&[create, start])),
            Verdict::NotAllowed(1, _)
        ));
        // A create that succeeds has not been seen as stopped before it was killed.
        let done = (Verb::Create(1), Answer::Done, 0, 9);
        assert!(matches!(
            check(&history(&[done, start])),
            Verdict::NotAllowed(1, _)
        ));
    }

    #[test]
    fn processes_of_a_stopped_container_are_those_of_an_exec() {
        let calls = |exec_ends| {
            let mut calls = history(&[
                (Verb::Create(1), Answer::Done, 0, 9),
                (Verb::Exec, Answer::Died, 10, exec_ends),
                (Verb::Kill, Answer::Done, 11, 12),
                (Verb::State, Answer::Status(Status::Stopped, 1), 13, 14),
                (Verb::Ps, Answer::Processes(true), 20, 21),
            ]);
            mark_processes_of_exec(&mut calls);
            check(&calls)
        };
        allowed(calls(20));
        assert!(matches!(calls(19), Verdict::NotAllowed(4, _)));
    }

    #[test]
    fn a_call_that_fails_half_way_is_seen() {
        let paused = Answer::Refused(Refusal::NotStopped(Status::Paused));
        let delete = (Verb::Delete, paused, 12, 15);
        let pause = (Verb::Pause, Answer::Cut, 10, 20);
        let resume = (Verb::Resume, Answer::Done, 11, 16);
        allowed(after_create(&[pause, delete]));
        allowed(after_create(&[pause, resume]));
        let created = (Verb::State, Answer::Status(Status::Created, 1), 21, 22);
        allowed(after_create(&[pause, delete, created]));
        refused(after_create(&[delete]), 0);
        let force = (Verb::DeleteForce, Answer::Cut, 2, 29);
        let stopped = (Verb::List, Answer::Status(Status::Stopped, 1), 28, 35);
        let create = (Verb::Create(1), Answer::Done, 0, 30);
        allowed(check(&history(&[create, force, stopped])));
    }

    /// The container is killed after the pause has written to its freezer.
    #[test]
    fn a_pause_that_is_refused_may_have_frozen_the_container() {
        let calls = |refusal| {
            after_create(&[
                (Verb::Pause, Answer::Refused(refusal), 10, 20),
                (Verb::Exec, Answer::Refused(Refusal::IsPaused), 11, 12),
                (Verb::DeleteForce, Answer::Done, 13, 18),
                (Verb::Create(2), Answer::Done, 18, 19),
            ])
        };
        allowed(calls(Refusal::NotRunning));
        allowed(calls(Refusal::NotThere));
        refused(calls(Refusal::NotPaused), 1);
        let pause = (Verb::Pause, Answer::Refused(Refusal::NotRunning), 10, 20);
        refused(after_create(&[pause]), 0);
    }

    #[test]
    fn a_create_that_failed_has_been_disturbed() {
        let create = (Verb::Create(1), Answer::Died, 0, 9);
        assert!(matches!(
            check(&history(&[create])),
            Verdict::NotAllowed(0, _)
        ));
        let force = (Verb::DeleteForce, Answer::Done, 3, 7);
        allowed(check(&history(&[create, force])));
        assert_eq!(Container::NONE.phase, Phase::Absent);
    }
}
