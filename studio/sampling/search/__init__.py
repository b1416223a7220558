"""Search for schedules."""
