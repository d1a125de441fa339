"""Admission: who may call."""
