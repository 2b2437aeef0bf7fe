"""Prices, engine, storage, API, dashboard and the demo; starts without lightning, mlflow or optuna."""
