-- POST of one fixed form with Basic credentials. FORM and AUTHORIZATION come ready-made from the environment.
dofile(os.getenv("BENCH") .. "/report.lua")

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Authorization"] = os.getenv("AUTHORIZATION")
wrk.body = os.getenv("FORM")
