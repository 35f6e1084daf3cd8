def greeting(name):
    return f"Hi {name}"
