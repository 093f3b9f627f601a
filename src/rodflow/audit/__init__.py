"""What stored results are worth: integrity, numbers computed again, claims, agreement of two folders."""
