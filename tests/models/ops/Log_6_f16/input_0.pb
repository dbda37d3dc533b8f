	
BaJs?J@ÝD÷BSDDÛC›>š: