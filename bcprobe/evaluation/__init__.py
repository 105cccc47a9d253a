"""How good a clicker is, teacher-forced and on its own."""
