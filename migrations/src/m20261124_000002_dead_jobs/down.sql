DROP INDEX job_history_dead;
