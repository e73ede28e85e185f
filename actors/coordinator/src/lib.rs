//! Quorums: put, get and delete across replicas
