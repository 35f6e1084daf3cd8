"""Part of the app in a module of its own."""

import azure.durable_functions as df

bp = df.Blueprint()


@bp.activity_trigger(input_name="city")
def hello(city: str):
    return f"Hello {city}!"


@bp.activity_trigger(input_name="payload", activity="ActDict")
def act_dict(payload: dict):
    return {"got": payload, "keys": sorted(payload)}
