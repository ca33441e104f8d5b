//! One program per kernel hook, in the order of a thread's life.

mod sched_process_fork;
mod sched_wakeup_new;

mod sched_switch;
mod sched_wakeup;
mod sched_waking;

mod sched_migrate_task;

mod sched_process_exec;
mod sched_process_exit;
mod sched_process_free;

mod sample_cpu;
mod seed_tasks;

mod meters;
