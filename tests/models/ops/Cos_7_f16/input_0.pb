	
BaJMGùGYÃ‡ABnEH”E2