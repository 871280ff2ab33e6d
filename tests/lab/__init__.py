"""Tests of the load lab's decisions: no process, no socket, no clock."""
