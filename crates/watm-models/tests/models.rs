//! Runs every model through its schedules. `cargo test -p watm-models --test models -- --nocapture`
//! prints the number of schedules.

use watm_models::{explore, models};

/// All schedules.
const ALL: Option<usize> = None;
/// Only schedules with a few preemptions, where all would take too long.
const UP_TO_3: Option<usize> = Some(3);
const UP_TO_4: Option<usize> = Some(4);

macro_rules! models {
    ($($file:ident { $($model:ident $preemptions:ident,)* })*) => {
        $(mod $file {
            $(#[test]
            #[allow(clippy::print_stdout, reason = "shown on request")]
            fn $model() {
                let explored = super::explore(super::$preemptions, super::models::$file::$model);
                println!("{}: {explored}", stringify!($model));
            })*
        })*
    };
}

models! {
    ring {
        bytes_cross_the_wrap ALL,
        room_is_used_again ALL,
        a_commit_shows_all_or_nothing ALL,
        peeks_and_skips_agree_with_reads ALL,
    }
    reader {
        a_write_wakes_the_reader ALL,
        two_writes_wake_the_reader ALL,
        a_guest_that_sleeps_wakes_the_reader_first ALL,
        the_last_write_wakes_the_reader ALL,
        the_supervisor_wakes_the_reader ALL,
        the_supervisor_wakes_the_reader_twice UP_TO_3,
        guest_and_supervisor_wake_the_reader UP_TO_3,
    }
    writer {
        reading_wakes_the_writer ALL,
        reading_wakes_all_writers ALL,
        the_end_of_reading_wakes_the_writer ALL,
        a_shutdown_wakes_the_writer ALL,
    }
    tasks {
        writes_and_the_end_wake_the_task ALL,
        the_end_wakes_a_task_and_a_thread UP_TO_3,
        reading_wakes_the_task ALL,
        a_signal_is_ready_while_there_are_bytes ALL,
        an_event_wakes_the_future ALL,
    }
    worker {
        data_wakes_the_worker ALL,
        each_write_wakes_the_worker UP_TO_4,
        the_level_wakes_the_worker UP_TO_4,
        data_and_level_wake_the_worker UP_TO_3,
        room_for_little_wakes_the_worker ALL,
        room_for_much_wakes_the_worker UP_TO_4,
        the_last_wish_for_room_counts ALL,
        room_lets_a_read_through ALL,
        a_late_flush_lets_a_read_through ALL,
        the_end_of_reading_wakes_the_worker ALL,
    }
    guard {
        a_worker_that_wakes_is_looked_at UP_TO_3,
        a_worker_that_is_left_asleep_is_woken UP_TO_3,
    }
    close {
        the_guest_reads_all_before_a_close UP_TO_3,
        the_application_reads_all_before_a_failure ALL,
        the_application_reads_all_before_the_end ALL,
        the_end_wakes_the_writer ALL,
        a_close_wakes_the_applications_own_reader UP_TO_3,
        both_sides_end_at_once ALL,
    }
    stages {
        established_or_expired ALL,
        a_deadline_hits_its_own_stage_alone ALL,
        whoever_stops_interrupts ALL,
        no_interrupt_after_the_end ALL,
    }
}
